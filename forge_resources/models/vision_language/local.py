"""A vision-language model in transformers' format, run on this machine."""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from forge_resources.config import VisionLanguageConfig
from forge_resources.models.devices import (
    UnsupportedSettingError,
    steady_torch,
    torch_device,
    torch_dtype,
    with_precision,
)
from forge_resources.models.pretrained import read_network, read_processor
from forge_resources.models.vision_language.base import Request
from forge_resources.models.weights import ResolvedWeights


class TransformersVisionLanguage:
    """A vision-language model such as Qwen3-VL or SmolVLM, from a local folder.

    Only safetensors are read and no code of the repository is run. Requests are answered one by one, so that a
    reply depends on no other request.

    Raises:
        UnsupportedSettingError: if the folder has no chat template, or the device cannot honour a setting.
        UnavailableDeviceError: if the device is not there.
    """

    def __init__(self, weights: ResolvedWeights, config: VisionLanguageConfig) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.identity = with_precision(weights.identity, config.precision)
        self._max_new_tokens = config.max_new_tokens
        self._device = torch_device(config.device)
        self._dtype = torch_dtype(config.precision, self._device)
        self._processor: Any = read_processor(AutoProcessor, weights.path)
        if not getattr(self._processor, "chat_template", None):
            raise UnsupportedSettingError(
                f"{weights.path.name} has no chat template: take the instruction-tuned weights, with all their files"
            )
        self._model: Any = read_network(AutoModelForImageTextToText, weights.path, self._dtype)
        self._model.to(self._device).eval()
        steady_torch()

    def ask(self, requests: Sequence[Request]) -> list[str]:
        """Answer questions; see `VisionLanguageModel.ask`."""
        return [self._ask(request) for request in requests]

    def _ask(self, request: Request) -> str:
        import torch

        content = [
            {"type": "image", "image": Image.fromarray(request.image)},
            {"type": "text", "text": request.prompt},
        ]
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._device, self._dtype)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=self._max_new_tokens)
        said = tokens[:, inputs["input_ids"].shape[1] :]
        return self._processor.batch_decode(said, skip_special_tokens=True)[0].strip()
