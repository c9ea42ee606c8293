-- Of the pairs that were asked, how many stand, per task and source?
--
-- One row a task and source; a task without candidates has a row with 0.
--   candidates  pairs asked
--   verified    pairs that verification kept, in partitions that passed their gate
--   rejected    pairs that verification dropped; drop_reasons says why
--   withheld    neither: their partition has no passing verdict, or has not been verified yet
--   yield       verified / candidates
--
-- Reads: candidate_qa, verified_qa (partitions that passed their gate), rejected_qa, partitions, quotas (task, quota).
WITH found AS (
    SELECT task, source, count(*) AS candidates, 0 AS verified, 0 AS rejected FROM candidate_qa GROUP BY task, source
    UNION ALL
    SELECT task, source, 0, count(*), 0 FROM verified_qa GROUP BY task, source
    UNION ALL
    SELECT task, source, 0, 0, count(*) FROM rejected_qa GROUP BY task, source
),
sources AS (
    SELECT source FROM partitions WHERE "table" IN ('candidate_qa', 'verified_qa', 'rejected_qa')
    UNION
    SELECT source FROM found
),
tasks AS (
    SELECT task FROM quotas UNION SELECT task FROM found
),
counted AS (
    SELECT
        task,
        source,
        coalesce(sum(candidates), 0)::BIGINT AS candidates,
        coalesce(sum(verified), 0)::BIGINT AS verified,
        coalesce(sum(rejected), 0)::BIGINT AS rejected
    FROM tasks LEFT JOIN sources ON true LEFT JOIN found USING (task, source)
    GROUP BY task, source
)
SELECT
    task,
    source,
    candidates,
    verified,
    rejected,
    candidates - verified - rejected AS withheld,
    verified / nullif(candidates, 0) AS yield
FROM counted
ORDER BY task, source;
