r"""Qwen3-VL, as the fine-tuning code of its makers reads it.

    {"id": …, "image": …, "conversations": [{"from": "human", "value": "<image>\n…"}, {"from": "gpt", "value": …}]}

Boxes are 0-1000 JSON, `[{"bbox_2d": [x1, y1, x2, y2], "label": …}]`: pairs are stored that way, so texts stay as
they are.
"""

from forge_assets.release.training_format import TrainingFormat

FORMAT = TrainingFormat(name="qwen3-vl", reserved=("<image>", "<video>", "<|im_start|>", "<|im_end|>"))
