-- Under which licences do photos and pairs stand?
--
-- One row a licence and source.
--   photos  in raw_images
--   pairs   verified
--   share   of all verified pairs
--
-- Reads: raw_images, verified_qa (partitions that passed their gate).
WITH held AS (
    SELECT license, source, count(*) AS photos, 0 AS pairs FROM raw_images GROUP BY license, source
    UNION ALL
    SELECT license, source, 0, count(*) FROM verified_qa GROUP BY license, source
)
SELECT
    license,
    source,
    sum(photos)::BIGINT AS photos,
    sum(pairs)::BIGINT AS pairs,
    coalesce(sum(pairs) / nullif(sum(sum(pairs)) OVER (), 0), 0) AS share
FROM held
GROUP BY license, source
ORDER BY pairs DESC, photos DESC, license, source;
