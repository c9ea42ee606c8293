-- Which photos could not be used, per source and rule?
--
-- One row a source and rule; a source without rejected photos has a row with 0 and no rule.
--   photos    photos that the rule names, each once
--   rows      rows of rejected_images: a rule about single labels may name a photo several times
--   example   the path of one of them
--   accepted  photos of the source that stand in raw_images, for comparison
--
-- Reads: rejected_images, raw_images, partitions.
WITH dropped AS (
    SELECT
        source,
        rule,
        count(DISTINCT coalesce(image_id, path)) AS photos,
        count(*) AS "rows",
        min(path) AS example
    FROM rejected_images
    GROUP BY source, rule
),
kept AS (
    SELECT source, count(*) AS accepted FROM raw_images GROUP BY source
),
sources AS (
    SELECT source FROM partitions WHERE "table" IN ('raw_images', 'rejected_images')
    UNION
    SELECT source FROM kept
)
SELECT
    source,
    rule,
    coalesce(photos, 0) AS photos,
    coalesce("rows", 0) AS "rows",
    example,
    coalesce(accepted, 0) AS accepted
FROM sources LEFT JOIN dropped USING (source) LEFT JOIN kept USING (source)
ORDER BY source, photos DESC, rule;
