-- Where does each partition stand, stage by stage?
--
-- One row a partition and stage, in the order in which the stages run.
--   state     passed, failed, broken: its gate's verdict; stale: its rows are newer than the verdict;
--             none: its gate has not run; missing: the stage has not been made for it
--   rows      rows of the partition's table, null where missing
--   failures  rows that failed the gate, all rules together
--
-- Reads: partitions.
WITH stages (position, stage) AS (
    VALUES
        (1, 'raw_images'),
        (2, 'detections'),
        (3, 'depth_maps'),
        (4, 'scenes'),
        (5, 'candidate_qa'),
        (6, 'verified_qa')
),
keys AS (
    SELECT DISTINCT source, shard FROM partitions
)
SELECT
    source,
    shard,
    stage,
    coalesce(verdict, 'missing') AS state,
    "rows",
    failures
FROM keys
CROSS JOIN stages
LEFT JOIN (SELECT * RENAME ("table" AS stage) FROM partitions) USING (source, shard, stage)
ORDER BY source, shard, position;
