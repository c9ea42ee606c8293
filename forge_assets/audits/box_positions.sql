-- Where in the photo do the boxes crowd?
--
-- A grid of ten by ten cells over the photo, all tasks together; one row a cell that the middle of a box lies in.
--   x, y   left and upper edge of the cell, as a share of the photo's width and height
--   boxes  of all verified pairs whose middle lies in it
--   share  of all boxes; 0.01 where they lie evenly
--
-- Reads: verified_qa (partitions that passed their gate).
WITH named AS (
    SELECT unnest(boxes) AS box FROM verified_qa
),
cells AS (
    SELECT
        least((box[1] + box[3]) // 200, 9) AS x,
        least((box[2] + box[4]) // 200, 9) AS y,
        count(*) AS boxes
    FROM named
    GROUP BY ALL
)
SELECT x / 10 AS x, y / 10 AS y, boxes, boxes / sum(boxes) OVER () AS share
FROM cells
ORDER BY cells.y, cells.x;
