-- Which photos have no verified pair, and at which stage do they fall out?
--
-- One row a source and reason; no row: each photo has a pair.
--   reason   no object: scenes holds none of the photo; no question: there are objects, but nothing was asked of them;
--            rejected: what was asked was dropped; withheld: it was not, but its partition has not passed its gate
--   photos   of the source without a pair, for that reason
--   share    of all photos of the source
--   example  one of them
--
-- Reads: raw_images, scenes, candidate_qa, rejected_qa, verified_qa (partitions that passed their gate).
WITH photos AS (
    SELECT source, count(*) AS photos FROM raw_images GROUP BY source
),
without AS MATERIALIZED (
    SELECT image_id, source FROM raw_images ANTI JOIN verified_qa USING (image_id)
),
reached AS (
    SELECT
        source,
        image_id,
        CASE
            WHEN image_id IN (SELECT image_id FROM rejected_qa SEMI JOIN without USING (image_id)) THEN 'rejected'
            WHEN image_id IN (SELECT image_id FROM candidate_qa SEMI JOIN without USING (image_id)) THEN 'withheld'
            WHEN image_id IN (SELECT image_id FROM scenes SEMI JOIN without USING (image_id)) THEN 'no question'
            ELSE 'no object'
        END AS reason
    FROM without
)
SELECT source, reason, count(*) AS photos, count(*) / any_value(photos.photos) AS share, min(image_id) AS example
FROM reached JOIN photos USING (source)
GROUP BY source, reason
ORDER BY source, reached.reason;
