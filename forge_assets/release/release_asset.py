"""The asset `release`: an immutable, named set of annotations, made when someone asks for it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from forge_assets.release.named import make_release
from forge_assets.release.release_folder import CARD, ReleaseManifest
from forge_assets.release.selection import Selection
from forge_assets.stage import OWNERS
from forge_resources.dagster_resources import ForgeResource

VERSION = "1"


class ReleaseRun(dg.Config):
    """What to release, as `forge release` takes it."""

    name: str = Field(description="Of the release; one that exists is refused.")
    where: str | None = Field(default=None, description="SQL condition over the columns of verified_qa.")
    split: str | None = Field(default=None, description="train or val; none: both.")
    balanced: bool = Field(default=True, description="Keep what the balance plan keeps.")
    total: int | None = Field(default=None, description="Pairs in all.")
    quotas: dict[str, float] | None = Field(default=None, description="Share of `total` by task, 0-1.")
    allow_short: bool = Field(default=False, description="Take what there is where a quota cannot be met.")
    allow_missing: bool = Field(default=False, description="Go without partitions that are missing or refused.")
    calibration: str | None = Field(default=None, description="Folder that `forge calibrate --output` wrote.")


@dg.asset(
    name="release",
    deps=["verified_qa", "duplicates", "balance_plan"],
    group_name="release",
    kinds={"parquet", "duckdb"},
    owners=OWNERS,
    code_version=VERSION,
)
def release(context: dg.AssetExecutionContext, config: ReleaseRun, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """A named release of annotations: Parquet by task and split, dataset card, Croissant, manifest; never changed."""
    started = time.monotonic()
    selection = Selection(**config.model_dump(exclude={"name", "calibration"}))
    calibration = Path(config.calibration) if config.calibration else None
    made = make_release(forge.config, config.name, selection, calibration=calibration)
    manifest = made.manifest
    for left in manifest.left_out:
        context.log.warning(f"left out: {left.partition}: {left.reason}")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest.content_hash),
        metadata={
            "dagster/row_count": manifest.pairs,
            "name": manifest.name,
            "photos": manifest.photos,
            **{f"pairs/{task}": pairs for task, pairs in pairs_by_task(manifest).items()},
            "left_out": len(manifest.left_out),
            "path": dg.MetadataValue.path(str(made.root)),
            "card": dg.MetadataValue.path(str(made.root / CARD)),
            "seconds": round(time.monotonic() - started, 3),
        },
    )


def pairs_by_task(manifest: ReleaseManifest) -> Mapping[str, int]:
    """How many pairs of each task there are, sorted by task."""
    counts: dict[str, int] = {}
    for count in manifest.counts:
        counts[count.task] = counts.get(count.task, 0) + count.pairs
    return dict(sorted(counts.items()))
