"""InternVL's chat data, one JSON object a line.

    {"id": …, "image": …, "width": …, "height": …, "conversations": [human, gpt]}

Boxes are 0-1000 in tags: `<ref>chair</ref><box>[[x1, y1, x2, y2], …]</box>` for the JSON of a grounding answer, one
`<ref>` a label in the order of the answer, with the sentence around it, if any, as it is; and
`<box>[[x1, y1, x2, y2]]</box>` for a region in any other text.
A grounding question's request for JSON is taken out, since the answer is none.
"""

from forge_assets.release.training_format import TrainingFormat, regions

_REQUEST = r"(report|output|return|give|provide|list|write|answer|respond|reply|format)"
_JSON_SENTENCE = rf"([.?!:])\s+(please\s+)?{_REQUEST}\b[^.?!]*\bjson\b[^.?!]*[.?!]?\s*$"
_JSON_CLAUSE = rf",?\s+(and|then|and then)\s+{_REQUEST}\b[^.?!]*\bjson\b[^.?!]*"
_JSON_WORDS = r",?\s+(in|as)(\s+a)?\s+json(\s+(format|list))?"

_ASKED = f"""
CASE WHEN answer_kind = 'bbox'
     THEN regexp_replace(
              regexp_replace(
                  regexp_replace(question, '{_JSON_SENTENCE}', '\\1', 'i'),
                  '{_JSON_CLAUSE}', '', 'i'),
              '{_JSON_WORDS}', '', 'i')
     ELSE question END
"""


def _with_regions(text: str) -> str:
    """SQL that puts the regions of this row's boxes in a text into tags."""
    return f"""
list_reduce(
    list_prepend({text}, {regions()}),
    lambda text, region: replace(text, region, '<box>[' || region || ']</box>')
)
"""


_ITEMS = """from_json(short_answer, '[{"bbox_2d": ["INTEGER"], "label": "VARCHAR"}]')"""

_LABELS = f"""
list_filter(
    list_transform({_ITEMS}, lambda item: item.label),
    lambda label, i: list_position(list_transform({_ITEMS}, lambda item: item.label), label) = i
)
"""

_BOXES_OF_LABEL = f"""
array_to_string(
    list_transform(list_filter({_ITEMS}, lambda item: item.label = label), lambda item: item.bbox_2d::VARCHAR), ', '
)
"""

_TAGS = f"""
array_to_string(
    list_transform(
        {_LABELS}, lambda label: '<ref>' || label || '</ref><box>[' || {_BOXES_OF_LABEL} || ']</box>'
    ), ''
)
"""

_ANSWER = f"""
CASE WHEN answer_kind = 'bbox'
     THEN CASE WHEN contains(answer, short_answer) THEN replace(answer, short_answer, {_TAGS}) END
     ELSE {_with_regions("answer")} END
"""

FORMAT = TrainingFormat(
    name="internvl",
    question=_with_regions(_ASKED),
    answer=_ANSWER,
    columns=("id", "image", "width", "height", "conversations"),
    reserved=("<image>", "<ref>", "</ref>", "<box>", "</box>", "<IMG_CONTEXT>"),
)
