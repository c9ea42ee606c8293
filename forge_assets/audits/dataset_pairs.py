"""What the JSON of a data set's rows says, in the columns of `verified_qa`, and what of it could not be read."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import polars as pl

from forge_assets.candidate_qa.identity import QA_ID_DIGITS, blake3
from forge_assets.release.qwen2_5_vl import resized
from forge_assets.tables import PERCEPTION, TASKS, VERIFIED_QA

if TYPE_CHECKING:
    import duckdb

_NUMBER: Final = r"-?\d+(?:\.\d+)?"
_BOX: Final = r"\[\s*" + r"\s*,\s*".join([_NUMBER] * 4) + r"\s*\]"
_REFERRED: Final = r"<ref>(.*?)</ref>\s*<box>\s*\[(.*?)\]\s*</box>"
_PLACEHOLDER: Final = r"<image>|<\|vision_start\|>|<\|image_pad\|>|<\|vision_end\|>"
_LETTERED: Final = r"(?m)^\s*\(?[A-H][).:]\s+(.+?)\s*$"
_LISTED: Final = r"(?i)(?::|choose (?:from|between|one of)|options are)\s+([^:?\[\]]+?(?:,| or )[^:?\[\]]+?)\s*[?.]?$"

_JSON: Final = """
CREATE OR REPLACE TEMP TABLE documents AS
SELECT
    row,
    CASE
        WHEN reason IS NOT NULL THEN reason
        WHEN NOT json_valid(text) THEN 'broken JSON'
        WHEN json_type(text) <> 'OBJECT' THEN 'not an object but ' || lower(json_type(text))
    END AS reason,
    CASE WHEN json_valid(text) THEN text::JSON END AS document
FROM incoming
"""

_TALKS: Final = """
CREATE OR REPLACE TEMP TABLE talks AS
WITH found AS (
    SELECT
        row,
        reason,
        document,
        coalesce(
            document -> 'conversations',
            document -> 'messages',
            CASE
                WHEN document ->> 'question' IS NOT NULL AND document ->> 'answer' IS NOT NULL
                    THEN json_array(
                        json_object('from', 'human', 'value', document -> 'question'),
                        json_object('from', 'gpt', 'value', document -> 'answer')
                    )
            END
        ) AS turns
    FROM documents
)
SELECT
    row,
    document,
    turns,
    CASE
        WHEN reason IS NOT NULL THEN reason
        WHEN turns IS NULL THEN 'no conversations or messages, nor question and answer'
        WHEN json_type(turns) <> 'ARRAY' THEN 'the conversation is not a list but ' || lower(json_type(turns))
        WHEN json_array_length(turns) = 0 THEN 'the conversation has no turn'
    END AS reason
FROM found
"""

_TURNS: Final = f"""
CREATE OR REPLACE TEMP TABLE turns AS
WITH listed AS (
    SELECT row, json_extract(turns, '$[*]') AS turns FROM talks WHERE reason IS NULL
),
single AS (
    SELECT row, unnest(range(1, len(turns) + 1)) AS number, unnest(turns) AS turn FROM listed
),
said AS (
    SELECT
        row,
        number,
        json_type(turn) AS type,
        lower(coalesce(turn ->> 'from', turn ->> 'role')) AS speaker,
        coalesce(turn -> 'value', turn -> 'content') AS content
    FROM single
),
texts AS (
    SELECT
        row,
        number,
        type,
        speaker,
        CASE
            WHEN speaker IN ('human', 'user') THEN 'question'
            WHEN speaker IN ('gpt', 'assistant', 'model') THEN 'answer'
            WHEN speaker = 'system' THEN 'system'
        END AS role,
        CASE json_type(content)
            WHEN 'VARCHAR' THEN content ->> '$'
            WHEN 'ARRAY' THEN array_to_string(
                list_filter(
                    list_transform(json_extract(content, '$[*]'), lambda part: part ->> 'text'),
                    lambda text: text IS NOT NULL
                ), ' '
            )
        END AS text
    FROM said
)
SELECT
    row,
    number,
    role,
    trim(regexp_replace(text, '\\s*({_PLACEHOLDER})\\s*', ' ', 'g'), e' \\n\\t\\r') AS text,
    CASE
        WHEN type <> 'OBJECT' THEN 'is not an object but ' || lower(type)
        WHEN speaker IS NULL THEN 'does not say from whom it is'
        WHEN role IS NULL THEN 'is from ' || speaker || ', not from human, gpt, user, assistant or system'
        WHEN text IS NULL THEN 'has no text'
        WHEN role <> 'system' AND NOT regexp_matches(regexp_replace(text, '{_PLACEHOLDER}', '', 'g'), '\\S')
            THEN 'is empty'
    END AS fault
FROM texts
"""  # noqa: S608 -- parts of this module

_ORDERED: Final = """
CREATE OR REPLACE TEMP TABLE ordered AS
SELECT
    *,
    lead(role) OVER w AS next_role,
    lag(role) OVER w AS last_role,
    lead(text) OVER w AS answer,
    lead(fault) OVER w AS next_fault
FROM turns
WHERE role IS DISTINCT FROM 'system'
WINDOW w AS (PARTITION BY row ORDER BY number)
"""

_UNREADABLE: Final = """
SELECT row, reason FROM talks WHERE reason IS NOT NULL
UNION ALL
SELECT row, 'turn ' || number || ' ' || fault FROM turns WHERE fault IS NOT NULL
UNION ALL
SELECT row, 'turn ' || number || ' has no answer' FROM ordered
WHERE role = 'question' AND fault IS NULL AND next_role IS DISTINCT FROM 'answer'
UNION ALL
SELECT row, 'turn ' || number || ' answers no question' FROM ordered
WHERE role = 'answer' AND fault IS NULL AND last_role IS DISTINCT FROM 'question'
UNION ALL
SELECT row, box_fault FROM pairs WHERE box_fault IS NOT NULL
ORDER BY row, reason
"""


def _without_tags(text: str) -> str:
    """SQL that takes InternVL's tags out of a text and leaves phrases and boxes."""
    boxes = f"regexp_replace({text}, '<box>\\s*\\[\\s*(\\[.*?\\])\\s*\\]\\s*</box>', '\\1', 'g')"
    return f"regexp_replace({boxes}, '</?ref>', '', 'g')"


_REFERENCES: Final = f"""
list_transform(
    list_zip(
        regexp_extract_all(answer, '{_REFERRED}', 1),
        regexp_extract_all(answer, '{_REFERRED}', 2)
    ),
    lambda pair: array_to_string(
        list_transform(
            regexp_extract_all(pair[2], '\\[[^\\[\\]]*\\]'),
            lambda box: '{{"bbox_2d": ' || box || ', "label": ' || to_json(pair[1])::VARCHAR || '}}'
        ), ', '
    )
)
"""

_TEXTS: Final = f"""
SELECT
    row,
    number,
    document,
    {_without_tags("text")} AS question,
    CASE
        WHEN regexp_full_match(answer, '(\\s*{_REFERRED}[\\s,.;]*)+')
            THEN '[' || array_to_string({_REFERENCES}, ', ') || ']'
        ELSE {_without_tags("answer")}
    END AS answer
FROM ordered JOIN talks USING (row)
WHERE role = 'question' AND fault IS NULL AND next_role = 'answer' AND next_fault IS NULL
"""  # noqa: S608 -- parts of this module

_SIZES: Final = """
SELECT
    *,
    try_cast(coalesce(document ->> 'image_width', document ->> 'width') AS INTEGER) AS image_width,
    try_cast(coalesce(document ->> 'image_height', document ->> 'height') AS INTEGER) AS image_height,
    regexp_extract_all(question || ' ' || answer, '$box') AS box_texts,
    trim(regexp_replace(answer, '^```(json)?|```$', '', 'g')) AS bare
FROM texts
""".replace("$box", _BOX)

_NUMBERS: Final = f"""
list_transform(
    list_filter(box_texts, lambda box, place: list_position(box_texts, box) = place),
    lambda box: list_transform(regexp_extract_all(box, '{_NUMBER}'), lambda number: number::DOUBLE)
)
"""

_SHARES: Final = "if(list_max(flatten(numbers)) <= 1, 1000, 1)"
_SCALES: Final[Mapping[str, tuple[str, str]]] = {
    "thousandths": ("1", "1"),
    "shares or thousandths": (_SHARES, _SHARES),
    "pixels": ("1000 / resized_width", "1000 / resized_height"),
}

FORMS: Final[Mapping[str, str]] = {
    "llava": "shares or thousandths",
    "sharegpt": "shares or thousandths",
    "qwen3-vl": "thousandths",
    "qwen2.5-vl": "pixels",
    "internvl": "thousandths",
    "spatialforge-10m": "thousandths",
}
"""The forms that can be read, and what their boxes are written in."""


def _pairs_sql(unit: str) -> str:
    across, down = _SCALES[unit]
    sizes = ", ".join(f"{sql} AS {name}" for name, sql in resized().items()) if unit == "pixels" else "NULL AS resized"
    inside = "box[1] >= 0 AND box[2] >= 0 AND box[1] < box[3] AND box[2] < box[4] AND box[3] <= 1000 AND box[4] <= 1000"
    return f"""
CREATE OR REPLACE TEMP TABLE pairs AS
WITH texts AS ({_TEXTS}),
sized AS ({_SIZES}),
measured AS (SELECT *, {_NUMBERS} AS numbers, {sizes} FROM sized),
scaled AS (
    SELECT
        *,
        list_transform(
            numbers,
            lambda box: list_transform(
                box, lambda side, place: round(side * CASE WHEN place % 2 = 1 THEN {across} ELSE {down} END)::INTEGER
            )
        ) AS boxes_read
    FROM measured
),
judged AS (
    SELECT
        *,
        list_filter(boxes_read, lambda box: coalesce({inside}, false)) AS boxes,
        regexp_extract_all(answer, '"label"\\s*:\\s*"((?:[^"\\\\]|\\\\.)*)"', 1) AS labels,
        len(box_texts) > 0 AND (
            coalesce(json_valid(bare) AND contains(bare, '"bbox_2d"'), false)
            OR regexp_full_match(answer, '[\\s\\[\\](){{}},.;\\d-]*{_BOX}[\\s\\[\\](){{}},.;\\d-]*')
        ) AS is_boxes,
        regexp_extract_all(question, '{_LETTERED}', 1) AS lettered,
        regexp_extract(question, '{_LISTED}', 1) AS listed
    FROM scaled
),
offered AS (
    SELECT
        *,
        CASE
            WHEN len(lettered) >= 2 THEN lettered
            WHEN listed <> '' THEN list_transform(
                regexp_split_to_array(listed, ',\\s+or\\s+|,\\s+|\\s+or\\s+'), lambda option: trim(option)
            )
        END AS options,
        trim(regexp_replace(answer, '\\.$', '')) AS said
    FROM judged
),
picked AS (
    SELECT
        *,
        CASE
            WHEN len(lettered) >= 2 AND regexp_matches(answer, '^\\(?[A-H]([).:\\s]|$)')
                THEN options[ascii(regexp_extract(answer, '[A-H]')) - 64]
            ELSE list_filter(options, lambda option: lower(option) = lower(said))[1]
        END AS option
    FROM offered
),
kinds AS (
    SELECT
        *,
        CASE
            WHEN is_boxes THEN 'bbox'
            WHEN option IS NOT NULL THEN 'choice'
            WHEN regexp_matches(answer, '(?i)^(yes|no)([.,;!\\s]|$)') THEN 'yes_no'
            WHEN regexp_full_match(said, '\\d+') THEN 'integer'
            WHEN regexp_matches(question, '(?i)\\b(how many|number of|count)\\b')
                AND len(regexp_extract_all(answer, '\\d+')) = 1 THEN 'integer'
            ELSE 'text'
        END AS answer_kind
    FROM picked
)
SELECT
    *,
    CASE answer_kind
        WHEN 'bbox' THEN '[' || array_to_string(
            list_transform(
                boxes_read,
                lambda box, place: '{{"bbox_2d": ' || box::VARCHAR
                || coalesce(', "label": "' || labels[place] || '"', '') || '}}'
            ), ', '
        ) || ']'
        WHEN 'choice' THEN option
        WHEN 'yes_no' THEN if(lower(answer[1]) = 'y', 'Yes', 'No')
        WHEN 'integer' THEN regexp_extract(answer, '\\d+')
        ELSE answer
    END AS short_answer,
    CASE
        WHEN len(boxes) = len(numbers) THEN NULL
        WHEN {unit == "pixels"} AND (image_width IS NULL OR image_height IS NULL)
            THEN 'turn ' || number || ': boxes are in pixels, and no width and height of the photo stand beside them'
        ELSE 'turn ' || number || ': boxes outside of the photo or without area: ' || (len(numbers) - len(boxes))
    END AS box_fault
FROM kinds
"""  # noqa: S608 -- parts of this module


_NEAR_FAR: Final = r"\b(nearer|nearest|closer|closest|farther|farthest|further|furthest)\b"
_TASK_IN_NAME: Final = {task: task.replace("_", "[_ -]?") for task in TASKS}

_COLUMNS: Final = """
SELECT
    row,
    number,
    coalesce(
        document ->> 'image_id',
        CASE json_type(document -> 'image')
            WHEN 'VARCHAR' THEN document ->> 'image'
            WHEN 'ARRAY' THEN document ->> '$.image[0]'
            WHEN 'OBJECT' THEN document ->> '$.image.path'
        END,
        document ->> '$.images[0]',
        document ->> 'image_path',
        document ->> 'file_name',
        document ->> 'id'
    ) AS image_id,
    coalesce(document ->> 'source', $source) AS source,
    $shard AS shard,
    coalesce(document ->> 'task', document ->> 'category', document ->> 'type') AS said_task,
    lower(coalesce(document ->> 'split', $split)) AS said_split,
    coalesce(document ->> 'license', document ->> 'licence') AS license,
    question,
    answer,
    short_answer,
    answer_kind,
    CASE WHEN answer_kind = 'choice' THEN options END AS choices,
    CASE WHEN answer_kind = 'bbox' AND len(labels) = len(boxes) THEN labels END AS categories,
    boxes,
    image_width,
    image_height
FROM pairs
ORDER BY row, number
"""


def read_rows(
    connection: "duckdb.DuckDBPyConnection", rows: pl.DataFrame, form: str, *, source: str, file_name: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read a batch of rows.

    Args:
        connection: to DuckDB; its temporary tables are written over.
        rows: row, text (JSON) and reason, as `dataset_files.batches` gives them.
        form: one of `FORMS`.
        source: of rows that name none.
        file_name: of the rows, without its suffix; it becomes their shard, and may name their task and split.

    Returns:
        The pairs in the columns of `verified_qa`, and what could not be read: row, reason.
    """
    connection.register("incoming", rows.to_arrow())
    for statement in (_JSON, _TALKS, _TURNS, _ORDERED, _pairs_sql(FORMS[form])):
        connection.execute(statement)
    split = pl.Series([file_name]).str.extract(r"(?i)(?:^|[^a-z])(train|val|valid|validation)(?:[^a-z]|$)", 1)[0]
    names = {"source": source, "shard": file_name, "split": split}
    pairs = connection.sql(_COLUMNS, params=names).pl()
    unreadable = connection.sql(_UNREADABLE).pl()
    connection.unregister("incoming")
    return _as_verified(pairs, file_name), unreadable


def _as_verified(pairs: pl.DataFrame, file_name: str) -> pl.DataFrame:
    task = _task_named_in(pl.col("said_task")).fill_null(_task_named_in(pl.lit(file_name))).fill_null(_task_by_text())
    split = pl.col("said_split").replace_strict(
        {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"},
        default=None,
        return_dtype=pl.String,
    )
    qa_id = blake3(pl.col("image_id").fill_null(""), "question", "answer").str.slice(0, QA_ID_DIGITS)
    columns = pairs.with_columns(task=task, split=split, qa_id=qa_id).with_columns(
        level=pl.when(pl.col("task").is_in(list(PERCEPTION)))
        .then(pl.lit("perception"))
        .when(pl.col("task").is_not_null())
        .then(pl.lit("relation")),
        category=pl.when(pl.col("categories").list.n_unique() == 1).then(pl.col("categories").list.first()),
        boxes=pl.col("boxes").cast(pl.List(pl.List(pl.Int32))).cast(pl.List(pl.Array(pl.Int32, 4))),
        form=pl.col("said_task"),
        object_ids=pl.lit([], pl.List(pl.String)),
        answer_object_ids=pl.lit([], pl.List(pl.String)),
    )
    return columns.select(
        (pl.col(name) if name in columns.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in VERIFIED_QA.items()
    )


def _task_named_in(text: pl.Expr) -> pl.Expr:
    """The task that a text names in whatever spelling, `Near-Far` for one; null where it names none."""
    return pl.coalesce(
        *(pl.when(text.str.contains(f"(?i){name}")).then(pl.lit(task)) for task, name in _TASK_IN_NAME.items()),
        pl.lit(None, pl.String),
    )


def _task_by_text() -> pl.Expr:
    """The task of a pair that no name tells, by rules that leave no doubt; else null."""
    question = pl.col("question").str.to_lowercase()
    return (
        pl.when(answer_kind="bbox")
        .then(pl.lit("grounding"))
        .when(pl.col("answer_kind") == "integer", question.str.contains(r"\b(how many|number of|count)\b"))
        .then(pl.lit("counting"))
        .when(question.str.contains(r"\b(his|her|their|own|person's) (own )?(left|right)\b"))
        .then(pl.lit("perspective"))
        .when(question.str.contains(_NEAR_FAR), question.str.contains(r"\bcamera\b|\bviewer\b"))
        .then(pl.lit("near_far"))
        .when(question.str.contains(r"\b(left|right) (of|or|side)\b"))
        .then(pl.lit("left_right"))
    )
