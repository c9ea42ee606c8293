"""How much of `detections` and `depth_maps` the networks themselves take.

    python tests/benchmarks/networks.py [--photos 64] [--config forge.yaml | --untrained] [--stage depth_maps]

The photos are those that ship inside installed packages, repeated. The limit is measured in the same process: what
the stage passed to its networks, in the same batches, is kept and passed to them again, one after another, with
nothing around them; to the embedded networks, of which each core has one, as many at a time as there are. Stage and
limit take turns and the best run of each counts. Without --config the embedded networks run, and those below
FORGE_SHARED if that is set.

With --untrained the depth network is Depth-Anything-V2-Small as it is published, by its architecture, its input and
its preparation of photos, but with weights drawn at random: its depths mean nothing, and it takes the time that the
trained one takes.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
from rich.console import Console
from rich.table import Table

from forge_assets.depth_maps.read_depth import depth_maps
from forge_assets.detections.detect import Networks, detections
from forge_assets.tables import DEPTH_MAPS, DETECTIONS, RAW_IMAGES
from forge_resources.config import ForgeConfig, WeightsConfig, load_config
from forge_resources.images import decode_upright
from forge_resources.lake import Lake, Manifest
from forge_resources.models.replicas import Replicas
from forge_resources.models.selection import load_depth
from forge_resources.models.weights import sha256_of
from forge_resources.shards import ShardKey
from forge_resources.sources.package_photos import copy_photos

SOURCE = "bench"
KEY = ShardKey.numbered(SOURCE, 0)
ALL_PHOTOS = 2_800_000
REPEATS = 2
HOUR_S = 3_600
BOUND = 0.9
ELSEWHERE = "python tests/benchmarks/networks.py --photos 500 --config forge.yaml"
STAGES = ("detections", "depth_maps")
UNTRAINED = "Depth-Anything-V2-Small, untrained"

Stage = Callable[[], Manifest]


@dataclass
class Calls:
    """What a stage asked of its networks, ready to be asked again."""

    asked: list[Callable[[], object]] = field(default_factory=list)
    asked_of_any: dict[str, list[Callable[[Any], object]]] = field(default_factory=dict)
    """By library: what any replica of a network can answer."""
    replicas: dict[str, list[Any]] = field(default_factory=dict)
    is_recording: bool = False

    def clear(self) -> None:
        """Forget what was asked."""
        self.asked.clear()
        self.asked_of_any.clear()

    def record(self, call: Callable[[], object]) -> None:
        """Keep a call, unless it is one of those that are being repeated."""
        if self.is_recording:
            self.asked.append(call)

    def record_of_any(self, library: str, call: Callable[[Any], object]) -> None:
        """Keep what a replica was asked, unless it is being repeated."""
        if self.is_recording:
            self.asked_of_any.setdefault(library, []).append(call)

    def repeat(self) -> None:
        """Ask all again and wait for the last answer."""
        import torch

        with torch.inference_mode():
            for call in self.asked:
                call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        for library, asked in self.asked_of_any.items():
            replicas = self.replicas[library]
            Replicas(iter(replicas).__next__, len(replicas)).map(lambda replica, ask: ask(replica), asked)


@dataclass(frozen=True)
class Figures:
    """The best of some runs."""

    seconds: float
    cpu_seconds: float


# --- the networks, listened to


@contextmanager
def listened() -> Generator[Calls]:
    """Record what reaches PyTorch, ONNX Runtime, OpenCV and LiteRT; networks must be loaded inside."""
    calls = Calls()
    with ExitStack() as stack:
        for listen in (_pytorch, _onnxruntime, _opencv, _litert):
            stack.enter_context(listen(calls))
        yield calls


@contextmanager
def _pytorch(calls: Calls) -> Generator[None]:
    """Outermost modules of each thread alone; their tensors are kept as they are: nothing writes into them later."""
    from torch.nn import Module

    original = Module.__call__
    inside = threading.local()

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(inside, "module", None) is not None or not calls.is_recording:
            return original(self, *args, **kwargs)
        calls.record(lambda: original(self, *args, **kwargs))
        inside.module = self
        try:
            return original(self, *args, **kwargs)
        finally:
            inside.module = None

    with patch.object(Module, "__call__", call):
        yield


@contextmanager
def _onnxruntime(calls: Calls) -> Generator[None]:
    from onnxruntime import InferenceSession

    original: Callable[..., Any] = InferenceSession.run

    def run(self: Any, names: Any, inputs: Any, *rest: Any) -> Any:
        calls.record(lambda: original(self, names, inputs, *rest))
        return original(self, names, inputs, *rest)

    with patch.object(InferenceSession, "run", run):
        yield


@contextmanager
def _opencv(calls: Calls) -> Generator[None]:
    from cv2 import dnn

    original = dnn.readNetFromTensorflow

    class Listened:
        def __init__(self, graph: str, text: str) -> None:
            self.network = original(graph, text)
            self.blob: Any = None
            calls.replicas.setdefault("opencv", []).append(self)

        def setInput(self, blob: Any) -> None:  # noqa: N802 - OpenCV's name
            self.blob = blob

        def forward(self) -> Any:
            blob = self.blob
            calls.record_of_any("opencv", lambda replica: replica.answer(blob))
            return self.answer(blob)

        def answer(self, blob: Any) -> Any:
            self.network.setInput(blob)
            return self.network.forward()

    with patch.object(dnn, "readNetFromTensorflow", Listened):
        yield


@contextmanager
def _litert(calls: Calls) -> Generator[None]:
    if find_spec("ai_edge_litert") is None:
        yield
        return
    from ai_edge_litert.interpreter import Interpreter

    allocate, put, invoke = Interpreter.allocate_tensors, Interpreter.set_tensor, Interpreter.invoke
    given: dict[int, tuple[int, Any]] = {}

    def allocate_tensors(self: Any) -> None:
        calls.replicas.setdefault("litert", []).append(self)
        allocate(self)

    def set_tensor(self: Any, index: int, value: Any) -> None:
        given[id(self)] = index, value
        put(self, index, value)

    def run(self: Any) -> None:
        index, value = given[id(self)]

        def again(replica: Any) -> None:
            put(replica, index, value)
            invoke(replica)

        calls.record_of_any("litert", again)
        invoke(self)

    with patch.multiple(Interpreter, allocate_tensors=allocate_tensors, set_tensor=set_tensor, invoke=run):
        yield


# --- what is measured


def write_photos(lake: Lake, count: int) -> None:
    """The packages' photos, repeated, as one partition of `raw_images`."""
    with tempfile.TemporaryDirectory() as folder:
        files = [(Path(folder) / photo.name).read_bytes() for photo in copy_photos(Path(folder))]
    sizes = [decode_upright(data).shape for data in files]
    rows: list[dict[str, Any]] = [
        {
            **dict.fromkeys(RAW_IMAGES),
            "image_id": f"{SOURCE}/{number:06d}",
            "source": KEY.source,
            "shard": KEY.shard,
            "image": {"bytes": files[number % len(files)], "path": None},
            "width": sizes[number % len(files)][1],
            "height": sizes[number % len(files)][0],
            "is_labeled": False,
        }
        for number in range(count)
    ]
    lake.write("raw_images", KEY, [pl.DataFrame(rows, schema=dict(RAW_IMAGES))], RAW_IMAGES)


def stages(lake: Lake, config: ForgeConfig, wanted: Collection[str] = STAGES) -> dict[str, Stage]:
    """Those wanted, with their reading and writing; their networks are loaded here."""
    models = config.models
    made: dict[str, Stage] = {}
    if "detections" in wanted:
        networks = Networks.load(config)
        made["detections"] = lambda: lake.write(
            "detections",
            KEY,
            detections(lake.batches("raw_images", KEY, models.detector.batch_size), networks, models),
            DETECTIONS,
        )
    estimators = load_depth(config) if "depth_maps" in wanted else []
    if estimators:
        made["depth_maps"] = lambda: lake.write(
            "depth_maps",
            KEY,
            depth_maps(lake.batches("raw_images", KEY, models.depth_batch_size), estimators, models),
            DEPTH_MAPS,
        )
    return made


def compare(stage: Stage, calls: Calls) -> tuple[Figures, Figures]:
    """The stage, and its networks alone."""
    calls.clear()
    calls.is_recording = True
    first = stage()
    calls.is_recording = False
    whole: list[Figures] = []
    alone: list[Figures] = []

    def again() -> None:
        if stage().content_hash != first.content_hash:
            sys.exit("the same photos gave other rows")

    for _ in range(REPEATS):
        alone.append(_timed(calls.repeat))
        whole.append(_timed(again))
    return _best(whole), _best(alone)


def _timed(work: Callable[[], object]) -> Figures:
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return Figures(time.perf_counter() - started, time.process_time() - cpu)


def _best(runs: Sequence[Figures]) -> Figures:
    return Figures(min(run.seconds for run in runs), min(run.cpu_seconds for run in runs))


def configurations() -> dict[str, ForgeConfig]:
    """Those that this machine can run, by name."""
    embedded = {"backend": "embedded"}
    found = {"embedded": {"detector": embedded, "second_detector": None, "pose": embedded, "depth": []}}
    shared = os.environ.get("FORGE_SHARED")
    if shared:
        models = Path(shared) / "models"

        def weights(name: str, backend: str, **settings: str) -> dict[str, Any]:
            return {"backend": backend, "weights": str(models / name), "sha256": sha256_of(models / name), **settings}

        second = {
            "second_detector": embedded,
            "pose": weights("yolov8n-pose-rebuilt.pt", "ultralytics"),
            "second_pose": embedded,
        }
        found["YOLO11n, FastDepth"] = {
            "detector": weights("yolo11n-rebuilt.pt", "ultralytics"),
            "depth": [weights("fastdepth-nyu-224.onnx", "onnx", kind="metric")],
            **second,
        }
        if find_spec("openvino"):
            found["YOLO11n as OpenVINO int8"] = {
                "detector": weights("yolo11n_int8_openvino_model", "ultralytics"),
                "depth": [],
                **second,
            }
    return {name: ForgeConfig.model_validate({"models": models}) for name, models in found.items()}


def untrained(folder: Path) -> ForgeConfig:
    """The embedded networks, and Depth-Anything-V2-Small with weights drawn at random.

    The settings are those of `depth-anything/Depth-Anything-V2-Small-hf`.

    Args:
        folder: empty; the network is saved in it and loaded from it as a trained one would be.
    """
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor
    from transformers.image_utils import PILImageResampling
    from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    torch.manual_seed(0)
    backbone = Dinov2Config.from_dict(
        {
            "hidden_size": 384,
            "num_attention_heads": 6,
            "num_hidden_layers": 12,
            "image_size": 518,
            "patch_size": 14,
            "out_features": ["stage3", "stage6", "stage9", "stage12"],
            "reshape_hidden_states": False,
        }
    )
    network = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=384,
        neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64,
        head_hidden_size=32,
        depth_estimation_type="relative",
    )
    DepthAnythingForDepthEstimation(network).save_pretrained(folder)
    DPTImageProcessor(
        size={"height": 518, "width": 518},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        resample=PILImageResampling.BICUBIC,
        image_mean=IMAGENET_DEFAULT_MEAN,
        image_std=IMAGENET_DEFAULT_STD,
    ).save_pretrained(folder)
    depth = {"backend": "transformers", "weights": str(folder), "sha256": sha256_of(folder)}
    embedded = {"backend": "embedded"}
    models = {"detector": embedded, "second_detector": None, "pose": embedded, "depth": [depth]}
    return ForgeConfig.model_validate({"models": models})


def devices_of(config: ForgeConfig) -> str:
    """The devices that networks are configured for."""
    sections: list[WeightsConfig] = [config.models.detector, config.models.pose, *config.models.depth]
    return ", ".join(sorted({section.device for section in sections}))


def main() -> None:
    """Measure and print."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=64, help="in the one shard; kept inputs take 10 MB each")
    parser.add_argument("--stage", choices=STAGES, help="that one alone")
    networks_of = parser.add_mutually_exclusive_group()
    networks_of.add_argument("--config", type=Path, help="a forge.yaml, instead of the networks at hand")
    networks_of.add_argument("--untrained", action="store_true", help="Depth-Anything-V2-Small with random weights")
    arguments = parser.parse_args()
    wanted = [arguments.stage] if arguments.stage else STAGES
    console = Console(width=120)
    table = Table(title=f"{arguments.photos} photos and their mirrors")
    table.add_column("networks", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    for name in ("photos/s", "limit", "ratio", "CPU ms/photo", "limit's", "ratio by CPU", "hours for 2.8 million"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as weights, listened() as calls:
        lake = Lake(Path(root))
        write_photos(lake, arguments.photos)
        if arguments.config:
            chosen = {arguments.config.name: load_config(arguments.config)}
        elif arguments.untrained:
            chosen = {UNTRAINED: untrained(Path(weights))}
        else:
            chosen = configurations()
        for networks, config in chosen.items():
            console.print(f"{networks}: device {devices_of(config)}")
            for name, stage in stages(lake, config, wanted).items():
                whole, alone = compare(stage, calls)
                table.add_row(networks, name, *_cells(arguments.photos, whole, alone))
    console.print(table)
    console.print(f"The goal is a ratio of {BOUND}. hours = {ALL_PHOTOS:,} / (photos a second) / {HOUR_S:,}.")
    if arguments.untrained:
        console.print(f"{UNTRAINED}: weights drawn at random. Its depths mean nothing; its speed is the trained one's.")
    if torch.cuda.is_available():
        console.print(f"Networks of device auto or cuda ran on {torch.cuda.get_device_name()}.")
    else:
        console.print(f"No CUDA GPU here: nothing above says what one does. On a machine that has one: {ELSEWHERE}")


def _cells(photos: int, whole: Figures, alone: Figures) -> list[str]:
    rate = photos / whole.seconds
    return [
        f"{rate:.1f}",
        f"{photos / alone.seconds:.1f}",
        f"{alone.seconds / whole.seconds:.2f}",
        f"{1000 * whole.cpu_seconds / photos:.0f}",
        f"{1000 * alone.cpu_seconds / photos:.0f}",
        f"{alone.cpu_seconds / whole.cpu_seconds:.2f}",
        f"{ALL_PHOTOS / rate / HOUR_S:,.0f}",
    ]


if __name__ == "__main__":
    main()
