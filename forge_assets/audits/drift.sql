-- Which shards hold something else than the shards that they are compared with?
--
-- One row a measure's furthest shard, and one more for each value that lies over 3 spreads away; the furthest first.
--   measure        task_share         of the shard's verified pairs, those of the task
--                  yield              of the task's candidates, those verified
--                  reject_rate        of the shard's candidates, those that the rule dropped
--                  median_score       of the task's verified pairs
--                  pairs_per_photo    verified pairs over photos
--                  objects_per_photo  objects found over photos
--   subject        the task or the rule; null where the measure is of the shard as a whole
--   median         of the shards that it is compared with
--   spread         usual distance from the median: root of the sum of squares of 1.4826 x the median distance,
--                  a floor (0.005 of a share, 2 % of any other median), and the noise of as few photos as the shard has
--   deviation      |value - median| / spread
--   compared_with  its source where that has 5 shards and more, else all shards
--   shards         how many those are; nothing is said of fewer than 5
--
-- The noise counts photos, not pairs, since pairs of a photo are alike: of a share p it is that of a binomial
-- distribution, of a median score 1.2533 x the usual deviation of one score, and of things in a photo, which crowd,
-- that of a geometric distribution.
--
-- Reads: verified_qa (partitions that passed their gate), candidate_qa, rejected_qa, partitions.
WITH shards AS (
    SELECT
        source,
        shard,
        sum("rows") FILTER ("table" = 'raw_images') AS photos,
        sum("rows") FILTER ("table" = 'detections') AS objects
    FROM partitions
    GROUP BY source, shard
    HAVING bool_or("table" = 'verified_qa' AND verdict = 'passed')
),
kept AS (
    SELECT source, shard, task, count(*) AS pairs, median(score) AS score, stddev_samp(score) AS deviation
    FROM verified_qa
    GROUP BY source, shard, task
),
asked AS (
    SELECT source, shard, task, count(*) AS candidates FROM candidate_qa GROUP BY source, shard, task
),
dropped AS (
    SELECT source, shard, rule, count(*) AS pairs FROM rejected_qa GROUP BY source, shard, rule
),
kept_of_shard AS (
    SELECT source, shard, coalesce(sum(pairs), 0) AS pairs
    FROM shards LEFT JOIN kept USING (source, shard)
    GROUP BY source, shard
),
asked_of_shard AS (
    SELECT source, shard, sum(candidates) AS candidates FROM asked GROUP BY source, shard
),
measured AS (
    SELECT
        source, shard, 'task_share' AS measure, task AS subject, coalesce(kept.pairs, 0) / kept_of_shard.pairs AS value,
        least(kept_of_shard.pairs, photos) AS n, NULL::DOUBLE AS deviation
    FROM shards
    CROSS JOIN (SELECT DISTINCT task FROM kept)
    JOIN kept_of_shard USING (source, shard)
    LEFT JOIN kept USING (source, shard, task)
    WHERE kept_of_shard.pairs > 0
    UNION ALL
    SELECT source, shard, 'yield', task, coalesce(pairs, 0) / candidates, least(candidates, photos), NULL
    FROM shards JOIN asked USING (source, shard) LEFT JOIN kept USING (source, shard, task)
    UNION ALL
    SELECT
        source, shard, 'reject_rate', rule, coalesce(pairs, 0) / candidates, least(candidates, photos), NULL
    FROM shards
    CROSS JOIN (SELECT DISTINCT rule FROM dropped)
    JOIN asked_of_shard USING (source, shard)
    LEFT JOIN dropped USING (source, shard, rule)
    UNION ALL
    SELECT source, shard, 'median_score', task, score, least(pairs, photos), deviation
    FROM shards JOIN kept USING (source, shard)
    UNION ALL
    SELECT source, shard, 'pairs_per_photo', NULL, pairs / photos, photos, NULL
    FROM shards JOIN kept_of_shard USING (source, shard)
    UNION ALL
    SELECT source, shard, 'objects_per_photo', NULL, objects / photos, photos, NULL
    FROM shards
),
judged AS (
    SELECT * FROM measured WHERE isfinite(value) AND n > 0
),
middles AS (
    SELECT
        *,
        count(*) OVER own AS own_shards,
        count(*) OVER every AS all_shards,
        median(value) OVER own AS own_median,
        median(value) OVER every AS all_median,
        median(deviation) OVER every AS usual_deviation
    FROM judged
    WINDOW own AS (PARTITION BY source, measure, subject), every AS (PARTITION BY measure, subject)
),
distances AS (
    SELECT
        *,
        median(abs(value - own_median)) OVER (PARTITION BY source, measure, subject) AS own_distance,
        median(abs(value - all_median)) OVER (PARTITION BY measure, subject) AS all_distance,
        own_shards >= 5 AS has_own
    FROM middles
),
compared AS (
    SELECT
        source,
        shard,
        measure,
        subject,
        value,
        n,
        usual_deviation,
        if(has_own, own_median, all_median) AS median,
        1.4826 * if(has_own, own_distance, all_distance) AS distance,
        if(has_own, source, 'all shards') AS compared_with,
        if(has_own, own_shards, all_shards) AS shards
    FROM distances
),
widened AS (
    SELECT
        *,
        CASE
            WHEN measure IN ('task_share', 'yield', 'reject_rate') THEN 0.005
            ELSE 0.02 * abs(median)
        END AS floor,
        CASE
            WHEN measure IN ('task_share', 'yield', 'reject_rate')
                THEN sqrt((median * n + 1) / (n + 2) * (1 - (median * n + 1) / (n + 2)) / n)
            WHEN measure = 'median_score' THEN 1.2533 * coalesce(usual_deviation, 0) / sqrt(n)
            ELSE median / sqrt(n)
        END AS noise
    FROM compared
    WHERE shards >= 5
),
spread AS (
    SELECT *, sqrt(distance ** 2 + floor ** 2 + noise ** 2) AS spread FROM widened
)
SELECT
    source,
    shard,
    measure,
    subject,
    value,
    median,
    spread,
    coalesce(abs(value - median) / nullif(spread, 0), 0) AS deviation,
    compared_with,
    shards
FROM spread
QUALIFY
    deviation > 3
    OR row_number() OVER (PARTITION BY measure, subject ORDER BY deviation DESC, source, shard) = 1
ORDER BY deviation DESC, measure, subject, source, shard;
