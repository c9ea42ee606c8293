-- How far above their thresholds do the verified pairs stand?
--
-- A histogram of each measure and task; one row a bin that holds a pair.
--   measure   score: the pair's own, 0 just at its thresholds;
--             object_score: the lowest detector score of its objects;
--             mirror_iou: the lowest overlap of an object with itself found in the mirrored photo;
--             depth_ratio: the lowest depth of the farther object over the nearer, of any reading or its mirror;
--             gap: the horizontal gap that the answer rests on, as a share of the photo's width;
--             facing: how plainly a person faces the camera or turns away from it, 0-1
--   low, high edges of the bin; the first and the last bin of a measure hold all that lies beyond
--   pairs     verified pairs in the bin; those without the measure are in none
--   share     of the task's pairs with the measure
--
-- Reads: verified_qa (partitions that passed their gate).
WITH measures (measure, start, width, bins) AS (
    VALUES
        ('score', 0.0, 0.1, 20),
        ('object_score', 0.0, 0.05, 20),
        ('mirror_iou', 0.0, 0.05, 20),
        ('depth_ratio', 0.8, 0.1, 20),
        ('gap', 0.0, 0.05, 20),
        ('facing', 0.0, 0.05, 20)
),
binned AS (
    SELECT
        task,
        floor(score / 0.1) AS score,
        floor(list_min(evidence.scores) / 0.05) AS object_score,
        floor(list_min(evidence.mirror_ious) / 0.05) AS mirror_iou,
        floor((list_min([least(reading.ratio, reading.mirror_ratio) FOR reading IN evidence.readings]) - 0.8) / 0.1)
            AS depth_ratio,
        floor(evidence.gap / 0.05) AS gap,
        floor(abs(evidence.facing) / 0.05) AS facing
    FROM verified_qa
),
counted AS (
    SELECT task, score, object_score, mirror_iou, depth_ratio, gap, facing, count(*) AS pairs
    FROM binned
    GROUP BY GROUPING SETS (
        (task, score), (task, object_score), (task, mirror_iou), (task, depth_ratio), (task, gap), (task, facing)
    )
),
histogram AS (
    SELECT task, measure, greatest(0, least(bin, bins - 1)) AS bin, sum(pairs)::BIGINT AS pairs, start, width
    FROM (UNPIVOT counted ON score, object_score, mirror_iou, depth_ratio, gap, facing INTO NAME measure VALUE bin)
    JOIN measures USING (measure)
    GROUP BY ALL
)
SELECT
    task,
    measure,
    round((start + bin * width)::DOUBLE, 3) AS low,
    round((start + (bin + 1) * width)::DOUBLE, 3) AS high,
    pairs,
    pairs / sum(pairs) OVER (PARTITION BY task, measure) AS share
FROM histogram
ORDER BY task, measure, low;
