"""Pickles that show whether they were unpickled, and small networks in transformers' format."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Any, ...]]:
        return Path.mkdir, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What is there once a hostile pickle was read."""
    return tmp_path / "unpickled"


@pytest.fixture(params=["checkpoint", "plain"])
def pickled(request: pytest.FixtureRequest, mark: Path) -> bytes:
    """A hostile pickle: as PyTorch writes a checkpoint, then as `pickle` does."""
    import torch

    if request.param == "plain":
        return pickle.dumps({"model": Planted(mark)})
    data = io.BytesIO()
    torch.save({"model": Planted(mark)}, data)
    return data.getvalue()


@pytest.fixture
def pretrained(tmp_path: Path) -> Callable[[str], Path]:
    """Folders of a detector, a depth network and a vision-language model as transformers saves them."""

    def save(role: str) -> Path:
        folder = tmp_path / role
        network, processor = {"detector": detector, "depth": depth, "describer": describer}[role]()
        network.save_pretrained(folder)
        processor.save_pretrained(folder)
        return folder

    return save


def detector() -> tuple[Any, Any]:
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37}
    network = YolosForObjectDetection(YolosConfig(**sizes, image_size=[64, 96], num_detection_tokens=5, num_labels=3))
    return network, YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})


def depth() -> tuple[Any, Any]:
    from transformers import GLPNConfig, GLPNForDepthEstimation, GLPNImageProcessor

    sizes = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2]}
    return GLPNForDepthEstimation(GLPNConfig(**sizes, decoder_hidden_size=8)), GLPNImageProcessor()


def describer() -> tuple[Any, Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    words = ["<unk>", "<pad>", "</s>", "<image>", "a", "b"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", additional_special_tokens=["<image>"]
    )
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    network = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**sizes, image_size=28, patch_size=14),
            text_config=LlamaConfig(**sizes, vocab_size=len(words), pad_token_id=1, bos_token_id=None),
            image_token_index=words.index("<image>"),
            vision_feature_layer=-1,
        )
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer=fast,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template="{{ messages }}",
    )
    return network, processor
