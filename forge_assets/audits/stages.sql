-- How much does each stage make of what it is given, per source?
--
-- One row a source and stage that has a partition, in the order in which the stages run; read from manifests and
-- verdicts alone.
--   partitions  made
--   passed      of these, those whose gate passed their present content
--   rows        made, all partitions together
--   withheld    of these, those in partitions that have not passed
--   rejected    rows that the stage dropped, each with its rule: rejected_images, rejected_qa; null: it drops nothing
--   yield       rows / (rows + rejected)
--
-- Reads: partitions.
WITH stages (position, stage, drops) AS (
    VALUES
        (1, 'raw_images', 'rejected_images'),
        (2, 'detections', NULL),
        (3, 'depth_maps', NULL),
        (4, 'scenes', NULL),
        (5, 'candidate_qa', NULL),
        (6, 'verified_qa', 'rejected_qa')
),
made AS (
    SELECT
        "table",
        source,
        count(*) AS partitions,
        count(*) FILTER (verdict = 'passed') AS passed,
        sum("rows")::BIGINT AS "rows",
        coalesce(sum("rows") FILTER (verdict <> 'passed'), 0)::BIGINT AS withheld
    FROM partitions
    GROUP BY "table", source
)
SELECT
    kept.source,
    stage,
    kept.partitions,
    kept.passed,
    kept."rows",
    kept.withheld,
    dropped."rows" AS rejected,
    kept."rows" / nullif(kept."rows" + dropped."rows", 0) AS yield
FROM stages
JOIN made AS kept ON kept."table" = stage
LEFT JOIN made AS dropped ON dropped."table" = drops AND dropped.source = kept.source
ORDER BY kept.source, position;
