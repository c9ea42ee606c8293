-- How large are the boxes that pairs name, and where in the photo do they lie?
--
-- A histogram of each measure and task, over all boxes of all verified pairs; one row a bin that holds a box.
--   measure    side: root of the box's area, as a share of the root of the photo's;
--              x, y: the middle of the box, as a share of the photo's width and height from its upper left corner
--   low, high  edges of the bin
--   boxes      in the bin
--   share      of the task's boxes
--
-- Reads: verified_qa (partitions that passed their gate).
WITH named AS (
    SELECT task, unnest(boxes) AS box FROM verified_qa
),
cells AS (
    SELECT
        task,
        least(sqrt((box[3] - box[1]) * (box[4] - box[2]))::INTEGER // 50, 19) AS side,
        least((box[1] + box[3]) // 100, 19) AS x,
        least((box[2] + box[4]) // 100, 19) AS y,
        count(*) AS boxes
    FROM named
    GROUP BY ALL
),
counted AS (
    SELECT task, 'side' AS measure, side AS bin, sum(boxes)::BIGINT AS boxes FROM cells GROUP BY ALL
    UNION ALL
    SELECT task, 'x', x, sum(boxes)::BIGINT FROM cells GROUP BY ALL
    UNION ALL
    SELECT task, 'y', y, sum(boxes)::BIGINT FROM cells GROUP BY ALL
)
SELECT
    task,
    measure,
    bin / 20 AS low,
    (bin + 1) / 20 AS high,
    boxes,
    boxes / sum(boxes) OVER (PARTITION BY task, measure) AS share
FROM counted
ORDER BY task, measure, low;
