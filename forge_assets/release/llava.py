r"""LLaVA, also known as ShareGPT form: what most fine-tuning frameworks read.

    {"id": …, "image": …, "conversations": [{"from": "human", "value": "<image>\n…"}, {"from": "gpt", "value": …}]}

LLaVA has no tokens of its own for boxes, so they stay as they are stored: 0-1000, `[x1, y1, x2, y2]`.
"""

from forge_assets.release.training_format import TrainingFormat

FORMAT = TrainingFormat(name="llava", reserved=("<image>",))
