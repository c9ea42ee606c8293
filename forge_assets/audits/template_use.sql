-- Is each task asked in many ways, or is one sentence worn out?
--
-- One row a task, form and template that a verified pair uses.
--   form           how the task is asked
--   pairs          verified pairs of the template
--   share_of_form  of the form's pairs, those of the template
--   share_of_task  of the task's pairs, those of the template
--   evenness       share_of_form x the number of templates seen in the form: 1 where all are used alike
--
-- Reads: verified_qa (partitions that passed their gate).
WITH used AS (
    SELECT task, form, template_id, count(*) AS pairs FROM verified_qa GROUP BY task, form, template_id
)
SELECT
    task,
    form,
    template_id,
    pairs,
    pairs / sum(pairs) OVER same_form AS share_of_form,
    pairs / sum(pairs) OVER (PARTITION BY task) AS share_of_task,
    share_of_form * count(*) OVER same_form AS evenness
FROM used
WINDOW same_form AS (PARTITION BY task, form)
ORDER BY task, form, pairs DESC, template_id;
