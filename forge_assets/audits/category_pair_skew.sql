-- Of which pairs of classes do the relations tell, and is one of the two nearly always the answer?
--
-- One row a task and pair of classes, in alphabetical order; the 20 commonest pairs of each task.
--   pairs        verified pairs about two objects of these classes
--   share        of the task's pairs about two objects
--   first_right  of those that name one of the two as the answer, and whose classes differ: the share that names the
--                one of first_class; null without such
--   skew         2 x |first_right - 0.5|: 0 both alike, 1 the class alone gives the answer away
--
-- Reads: verified_qa (partitions that passed their gate).
WITH relations AS (
    SELECT
        task,
        least(categories[1], categories[2]) AS first_class,
        greatest(categories[1], categories[2]) AS second_class,
        CASE
            WHEN categories[1] <> categories[2] AND len(answer_object_ids) = 1
                THEN (answer_object_ids[1] = object_ids[1]) = (categories[1] < categories[2])
        END AS is_first,
        count(*) AS pairs
    FROM verified_qa
    WHERE len(categories) = 2
    GROUP BY ALL
),
counted AS (
    SELECT
        task,
        first_class,
        second_class,
        sum(pairs)::BIGINT AS pairs,
        sum(pairs) FILTER (is_first) AS firsts,
        sum(pairs) FILTER (is_first IS NOT NULL) AS answered
    FROM relations
    GROUP BY task, first_class, second_class
)
SELECT
    task,
    first_class,
    second_class,
    pairs,
    pairs / sum(pairs) OVER (PARTITION BY task) AS share,
    coalesce(firsts, 0) / answered AS first_right,
    2 * abs(first_right - 0.5) AS skew
FROM counted
QUALIFY row_number() OVER (PARTITION BY task ORDER BY pairs DESC, first_class, second_class) <= 20
ORDER BY task, pairs DESC, first_class, second_class;
