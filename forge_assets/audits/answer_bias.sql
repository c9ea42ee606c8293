-- Which answers come up more often than the others that could, so that they can be guessed without the photo?
--
-- One row a task, kind of answer and value, at most ten of each, the commonest first.
--   aspect      answer: the short answer of choices, yes/no questions and numbers;
--               position: the place of the right option among those shown, from 1;
--               side: left or right, where the answer of a question about sides names one of them alone
--   among       options shown, for aspect position; else null
--   pairs       verified pairs with that value
--   share       of the pairs of the same task, aspect, kind and number of options
--   chance      share that each value would have if all those seen were as common
--   excess      share - chance
--
-- Reads: verified_qa (partitions that passed their gate).
WITH answers AS MATERIALIZED (
    SELECT
        task,
        answer_kind,
        CASE
            WHEN answer_kind IN ('choice', 'yes_no', 'integer') AND NOT starts_with(short_answer, '[') THEN short_answer
        END AS answer,
        list_position(choices, short_answer) AS position,
        len(choices) AS among,
        CASE
            WHEN task NOT IN ('left_right', 'perspective') OR answer_kind = 'yes_no' THEN NULL
            WHEN contains(short_answer, 'left') AND NOT contains(short_answer, 'right') THEN 'left'
            WHEN contains(short_answer, 'right') AND NOT contains(short_answer, 'left') THEN 'right'
        END AS side,
        count(*) AS pairs
    FROM verified_qa
    GROUP BY ALL
),
aspects AS (
    SELECT task, answer_kind, 'answer' AS aspect, NULL::BIGINT AS among, answer AS value, pairs
    FROM answers
    WHERE answer IS NOT NULL
    UNION ALL
    SELECT task, answer_kind, 'position', among, position::VARCHAR, pairs FROM answers WHERE position > 0
    UNION ALL
    SELECT task, answer_kind, 'side', NULL, side, pairs FROM answers WHERE side IS NOT NULL
),
counted AS (
    SELECT task, aspect, answer_kind, among, value, sum(pairs)::BIGINT AS pairs FROM aspects GROUP BY ALL
)
SELECT
    task,
    aspect,
    answer_kind,
    among,
    value,
    pairs,
    pairs / sum(pairs) OVER same AS share,
    1 / coalesce(among, count(*) OVER same) AS chance,
    share - chance AS excess
FROM counted
WINDOW same AS (PARTITION BY task, aspect, answer_kind, among)
QUALIFY row_number() OVER (PARTITION BY task, aspect, answer_kind, among ORDER BY pairs DESC, value) <= 10
ORDER BY task, aspect, answer_kind, among, pairs DESC, value;
