-- Which rule drops the pairs of each task, and how far from its threshold are they?
--
-- One row a task and rule, the costliest rule of a task first; a task without rejected pairs has a row with 0 and no rule.
--   rejected             pairs that the rule dropped
--   share_of_candidates  of the task's candidates
--   median_value         of what the rule measured; close to the threshold means that a small change of it matters
--   threshold            what the rule asked for (the median, where partitions were made with different ones)
--
-- Reads: rejected_qa, candidate_qa, quotas (task, quota).
WITH dropped AS (
    SELECT task, rule, count(*) AS rejected, median(value) AS median_value, median(threshold) AS threshold
    FROM rejected_qa
    GROUP BY task, rule
),
asked AS (
    SELECT task, count(*) AS candidates FROM candidate_qa GROUP BY task
),
tasks AS (
    SELECT task FROM quotas UNION SELECT task FROM asked UNION SELECT task FROM dropped
)
SELECT
    task,
    rule,
    coalesce(rejected, 0) AS rejected,
    coalesce(rejected, 0) / nullif(candidates, 0) AS share_of_candidates,
    median_value,
    threshold
FROM tasks LEFT JOIN dropped USING (task) LEFT JOIN asked USING (task)
ORDER BY task, rejected DESC, rule;
