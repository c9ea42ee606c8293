-- What is there more than once: photos, questions, pairs?
--
-- One row a kind and source of what is there more than once; no row: nothing is.
--   kind     exact photo, near photo: photos that the asset duplicates drops, by the source of the dropped one;
--            pair: the same question with the same answer about one photo, more than once;
--            contradiction: the same question about one photo with different answers
--   groups   different photos or questions that are repeated
--   rows     that would have to go for each to be there once; for contradictions, all but one of each question
--   example  the group of photos, or the photo of one of the questions
--
-- Reads: verified_qa (partitions that passed their gate), duplicates.
WITH suspects AS (
    SELECT hash(image_id, question) AS asked FROM verified_qa GROUP BY asked HAVING count(*) > 1
),
answers AS (
    SELECT source, image_id, question, answer, count(*) AS pairs
    FROM verified_qa SEMI JOIN suspects ON hash(image_id, question) = asked
    GROUP BY source, image_id, question, answer
),
repeated AS (
    SELECT
        source,
        image_id,
        count(*) AS answers,
        count(*) FILTER (pairs > 1) AS repeated_answers,
        sum(pairs) - count(*) AS repeats
    FROM answers
    GROUP BY source, image_id, question
)
SELECT kind || ' photo' AS kind, source, count(DISTINCT group_id) AS groups, count(*) AS "rows", min(group_id) AS example
FROM duplicates
WHERE NOT is_kept
GROUP BY ALL
UNION ALL
SELECT 'pair', source, sum(repeated_answers)::BIGINT, sum(repeats)::BIGINT, min(image_id)
FROM repeated
WHERE repeats > 0
GROUP BY source
UNION ALL
SELECT 'contradiction', source, count(*), sum(answers - 1)::BIGINT, min(image_id)
FROM repeated
WHERE answers > 1
GROUP BY source
ORDER BY kind, source;
