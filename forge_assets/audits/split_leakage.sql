-- Is anything of the validation split in the training split too?
--
-- One row a kind of leak; no row: there is none.
--   kind     image: a photo whose pairs stand in two splits;
--            photo: the same bytes under two ids, in two splits;
--            group: near duplicates by the asset duplicates, in two splits;
--            pair: the same question and answer about the same bytes, in two splits
--   leaks    photos, groups or pairs in two splits
--   example  an image_id of one of them
--
-- Reads: verified_qa (partitions that passed their gate), raw_images, duplicates.
WITH images AS (
    SELECT image_id FROM verified_qa GROUP BY image_id HAVING min(split) <> max(split)
),
photos AS (
    SELECT sha256, min(image_id) AS image_id FROM raw_images GROUP BY sha256 HAVING min(split) <> max(split)
),
groups AS (
    SELECT group_id AS image_id
    FROM duplicates JOIN raw_images USING (image_id)
    GROUP BY group_id
    HAVING min(split) <> max(split)
),
copies AS (
    SELECT image_id, sha256 FROM raw_images SEMI JOIN photos USING (sha256)
    UNION
    SELECT image_id, image_id FROM images
),
pairs AS (
    SELECT min(image_id) AS image_id
    FROM verified_qa JOIN copies USING (image_id)
    GROUP BY sha256, question, answer
    HAVING min(verified_qa.split) <> max(verified_qa.split)
)
SELECT kind, count(*) AS leaks, min(image_id) AS example
FROM (
    SELECT 'image' AS kind, image_id FROM images
    UNION ALL
    SELECT 'photo', image_id FROM photos
    UNION ALL
    SELECT 'group', image_id FROM groups
    UNION ALL
    SELECT 'pair', image_id FROM pairs
)
GROUP BY kind
ORDER BY kind;
