-- How often does the judge, a vision-language model, agree with verified answers, per task and form?
--
-- One row a task and form that was asked; a task that was not asked has a row with 0 and no form.
--   asked        pairs that the judge was asked about
--   unread       of them, those whose reply could not be read; judgements.reason says why
--   agrees       replies that say what the answer says
--   disagrees    replies that say something else
--   agreement    agrees / (agrees + disagrees)
--   low, high    Wilson's 95 % interval of agreement, which takes pairs as independent
--   models       judges that were asked
--
-- Reads: judgements, quotas (task, quota).
WITH counted AS (
    SELECT
        task,
        form,
        count(*) AS asked,
        count(*) FILTER (agrees IS NULL) AS unread,
        count(*) FILTER (agrees) AS agrees,
        count(*) FILTER (NOT agrees) AS disagrees,
        count(agrees)::DOUBLE AS "read",
        string_agg(DISTINCT model, ', ' ORDER BY model) AS models
    FROM judgements
    GROUP BY task, form
),
tasks AS (
    SELECT task FROM quotas UNION SELECT task FROM counted
),
shares AS (
    SELECT *, agrees / nullif("read", 0) AS agreement, 1.959964 ** 2 / nullif("read", 0) AS z2_n
    FROM tasks LEFT JOIN counted USING (task)
),
intervals AS (
    SELECT
        *,
        agreement + z2_n / 2 AS center,
        sqrt(z2_n * (agreement * (1 - agreement) + z2_n / 4)) AS spread
    FROM shares
)
SELECT
    task,
    form,
    coalesce(asked, 0) AS asked,
    coalesce(unread, 0) AS unread,
    coalesce(agrees, 0) AS agrees,
    coalesce(disagrees, 0) AS disagrees,
    agreement,
    if("read" > 0, greatest((center - spread) / (1 + z2_n), 0), NULL) AS low,
    if("read" > 0, least((center + spread) / (1 + z2_n), 1), NULL) AS high,
    models
FROM intervals
ORDER BY task, form;
