"""How small depth maps are stored, and whether an answer changes by it.

    python tests/benchmarks/depth_storage.py --config forge.yaml --rgbd folder --boxes folder

The folders are those of `forge calibrate`. The stages up to verification run over them once with maps that keep all
sixteen bits, and once for each way to store them smaller; the verified pairs of the task near_far are then compared,
by id. Without arguments, the weights and photos below FORGE_SHARED are taken, if that is set.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
from rich.console import Console
from rich.table import Table

from forge_assets.calibration.pipeline import Found, read_boxes, read_rgbd, together
from forge_assets.candidate_qa.generate import candidates
from forge_assets.depth_maps import encoding, read_depth
from forge_assets.depth_maps.encoding import EncodedDepth
from forge_assets.verified_qa.verify import verify
from forge_resources.config import ForgeConfig, load_config
from forge_resources.models.weights import sha256_of

TASK = "near_far"
WHOLE = 0.0
ERRORS = (WHOLE, 5e-4, 1e-3, 2e-3)
SIDES = (256, 192)
GOAL_KB = 60


@dataclass(frozen=True)
class Stored:
    """What came of one way to store maps."""

    kb_a_photo: float
    candidates: pl.DataFrame
    verified: pl.DataFrame


def run(config: ForgeConfig, rgbd: Path | None, boxes: Path | None, error: float) -> Stored:
    """All stages over the folders, maps stored to that relative error."""
    sizes: list[int] = []

    def counted(depth: encoding.DepthMap) -> EncodedDepth:
        made = encoding.encode_depth(depth)
        sizes.append(len(made.png))
        return made

    with patch.object(encoding, "MAX_STEP_ERROR", error), patch.object(read_depth, "encode_depth", counted):
        parts: list[Found] = []
        if rgbd:
            parts.append(read_rgbd(config, rgbd))
        if boxes:
            parts.append(read_boxes(config, boxes))
    found = together(parts)
    asked = candidates(found.scenes, config)
    verified, _ = verify(asked, config.verification)
    return Stored(sum(sizes) / found.photos.height / 1000, of_task(asked), of_task(verified))


def of_task(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs that rest on depth."""
    return pairs.filter(pl.col("task") == TASK).select("qa_id", "answer", "answer_object_ids")


def changed(before: pl.DataFrame, after: pl.DataFrame) -> tuple[int, int, int]:
    """Pairs lost, pairs won, and pairs with another answer."""
    both = before.join(after, on="qa_id", suffix="_after")
    other = both.filter(
        (pl.col("answer") != pl.col("answer_after"))
        | (pl.col("answer_object_ids") != pl.col("answer_object_ids_after"))
    )
    return before.height - both.height, after.height - both.height, other.height


def with_side(config: ForgeConfig, side: int) -> ForgeConfig:
    """The same networks, maps of that longer side."""
    networks = tuple(network.model_copy(update={"stored_side": side}) for network in config.models.depth)
    return config.model_copy(update={"models": config.models.model_copy(update={"depth": networks})})


def shared_config(models: Path) -> ForgeConfig:
    """The maintainers' weights."""

    def weights(name: str, backend: str, **settings: str) -> dict[str, Any]:
        return {"backend": backend, "weights": str(models / name), "sha256": sha256_of(models / name), **settings}

    return ForgeConfig.model_validate(
        {
            "models": {
                "detector": weights("yolo11n-rebuilt.pt", "ultralytics"),
                "pose": {"backend": "none"},
                "second_pose": None,
                "depth": [weights("fastdepth-nyu-224.onnx", "onnx", kind="metric")],
            }
        }
    )


def compare(console: Console, config: ForgeConfig, rgbd: Path | None, boxes: Path | None, sides: Sequence[int]) -> None:
    """Run all and print the table."""
    table = Table(title=f"both maps of a photo; the goal is {GOAL_KB} kB")
    for name in ("side", "error", "kB a photo", "candidates", "verified", "lost", "won", "other answer"):
        table.add_column(name, justify="right")
    whole: Stored | None = None
    for side in sides:
        for error in ERRORS:
            stored = run(with_side(config, side), rgbd, boxes, error)
            whole = whole or stored
            table.add_row(
                str(side),
                f"{error:.2%}" if error else "16 bits",
                f"{stored.kb_a_photo:.1f}",
                str(stored.candidates.height),
                str(stored.verified.height),
                *map(str, changed(whole.verified, stored.verified)),
            )
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="a forge.yaml with a depth network")
    parser.add_argument("--rgbd", type=Path, help="photos with measured depth")
    parser.add_argument("--boxes", type=Path, help="photos with human boxes")
    arguments = parser.parse_args()
    shared = os.environ.get("FORGE_SHARED")
    if arguments.config:
        config, rgbd, boxes = load_config(arguments.config), arguments.rgbd, arguments.boxes
    elif shared:
        config = shared_config(Path(shared) / "models")
        rgbd, boxes = Path(shared) / "data/rgbd", Path(shared) / "data/coco128-part"
    else:
        sys.stdout.write("No package carries a depth network: name one with --config, and photos with --rgbd\n")
        return
    compare(Console(width=120), config, rgbd, boxes, SIDES)


if __name__ == "__main__":
    main()
