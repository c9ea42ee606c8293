-- Which code, models and thresholds made the rows that are there?
--
-- One row a table, name and version.
--   name        code, a model, or the settings of a part
--   version     identity of the model, or digest of the settings
--   partitions  made by that version
--   rows        in these
--   share       of the table's partitions, those
--   mixed       whether other partitions of the table were made by another version of the same name
--
-- Reads: partitions, partition_versions.
WITH used AS (
    SELECT "table", name, version, count(*) AS partitions, sum("rows")::BIGINT AS "rows"
    FROM partition_versions JOIN partitions USING ("table", source, shard)
    GROUP BY "table", name, version
),
tables AS (
    SELECT "table", count(*) AS all_partitions FROM partitions GROUP BY "table"
)
SELECT
    "table",
    name,
    version,
    partitions,
    "rows",
    partitions / all_partitions AS share,
    count(*) OVER (PARTITION BY "table", name) > 1 AS mixed
FROM used JOIN tables USING ("table")
ORDER BY "table", name, partitions DESC, version;
