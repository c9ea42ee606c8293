-- How far is each task from the share that was wanted of it, and which source and split do its pairs stand in?
--
-- One row a task and source; a task without pairs has a row with 0.
--   pairs         verified pairs of the task in this source
--   train, val    of these, those of each split
--   val_share     val / pairs
--   source_share  of the task's pairs, those of this source
--   task_pairs    verified pairs of the task in all sources
--   share         of all verified pairs, those of the task
--   quota         wanted share; all quotas together are taken as 1
--   filled        share / quota: under 1 the task is short, over 1 it has more than was wanted
--   gap           share - quota
--   missing       pairs that the task lacks for its quota of as many pairs as there are
--
-- Reads: verified_qa (partitions that passed their gate), partitions, quotas (task, quota).
WITH found AS (
    SELECT
        task,
        source,
        count(*) AS pairs,
        count(*) FILTER (split = 'train') AS train,
        count(*) FILTER (split = 'val') AS val
    FROM verified_qa
    GROUP BY task, source
),
sources AS (
    SELECT source FROM partitions WHERE "table" = 'verified_qa' UNION SELECT source FROM found
),
wanted AS (
    SELECT task, quota / nullif(sum(quota) OVER (), 0) AS quota FROM quotas
),
tasks AS (
    SELECT task, coalesce(quota, 0) AS quota
    FROM wanted FULL JOIN (SELECT DISTINCT task FROM found) USING (task)
),
counted AS (
    SELECT
        task,
        source,
        quota,
        coalesce(pairs, 0) AS pairs,
        coalesce(train, 0) AS train,
        coalesce(val, 0) AS val,
        sum(coalesce(pairs, 0)) OVER (PARTITION BY task)::BIGINT AS task_pairs,
        sum(coalesce(pairs, 0)) OVER ()::BIGINT AS all_pairs
    FROM tasks LEFT JOIN sources ON true LEFT JOIN found USING (task, source)
)
SELECT
    task,
    source,
    pairs,
    train,
    val,
    val / nullif(pairs, 0) AS val_share,
    pairs / nullif(task_pairs, 0) AS source_share,
    task_pairs,
    coalesce(task_pairs / nullif(all_pairs, 0), 0) AS share,
    quota,
    coalesce(task_pairs / nullif(all_pairs, 0), 0) / nullif(quota, 0) AS filled,
    coalesce(task_pairs / nullif(all_pairs, 0), 0) - quota AS gap,
    greatest(ceil(quota * all_pairs)::BIGINT - task_pairs, 0) AS missing
FROM counted
ORDER BY quota DESC, task, source;
