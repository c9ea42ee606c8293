-- Which partitions are older than what they were made of?
--
-- One row a partition and input that is not what it was; no row: all partitions are fresh. Content hashes are compared,
-- not times: an input that was made again with the same rows changes nothing.
--   state  changed: the input holds other rows now; missing: it is not there any more;
--          behind: it is the same, but is itself older than what it was made of
--   input  the table that the partition was made of
--
-- Reads: partitions, partition_inputs.
WITH RECURSIVE compared AS (
    SELECT
        made."table",
        made.source,
        made.shard,
        made.input,
        CASE
            WHEN present.content_hash IS NULL THEN 'missing'
            WHEN present.content_hash <> made.content_hash THEN 'changed'
        END AS state
    FROM partition_inputs AS made
    LEFT JOIN partitions AS present
        ON present."table" = made.input AND present.source = made.source AND present.shard = made.shard
),
old AS (
    SELECT DISTINCT "table", source, shard FROM compared WHERE state IS NOT NULL
    UNION
    SELECT later."table", later.source, later.shard
    FROM compared AS later
    JOIN old ON old."table" = later.input AND old.source = later.source AND old.shard = later.shard
)
SELECT
    compared.source,
    compared.shard,
    compared."table" AS stage,
    coalesce(state, 'behind') AS state,
    input
FROM compared
LEFT JOIN old ON old."table" = input AND old.source = compared.source AND old.shard = compared.shard
WHERE state IS NOT NULL OR old."table" IS NOT NULL
ORDER BY compared.source, compared.shard, stage, input;
