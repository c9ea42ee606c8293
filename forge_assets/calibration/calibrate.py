"""`forge calibrate`: how true verified pairs are on photos with known truth, beside simpler rules, by threshold."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from forge_assets.calibration.figures import write_figures
from forge_assets.calibration.intervals import PhotoBootstrap
from forge_assets.calibration.judge import judge
from forge_assets.calibration.peers import compare, is_answerable, peer_answers
from forge_assets.calibration.pipeline import Found, Progress, read_boxes, read_rgbd, together
from forge_assets.calibration.proposals import proposals
from forge_assets.calibration.summary import against_goals, not_judged, summary
from forge_assets.calibration.thresholds import curves, table_of_curves
from forge_assets.candidate_qa.generate import candidates
from forge_assets.verified_qa.verify import verify
from forge_resources.config import ForgeConfig, VerificationConfig

TABLES: Final = ("tasks", "forms", "goals", "not_judged", "peers", "thresholds", "proposals", "rejected_photos")


@dataclass(frozen=True, eq=False)
class Calibration:
    """All that was measured; docs/calibration.md explains each column."""

    tasks: pl.DataFrame
    """`summary` by task."""
    forms: pl.DataFrame
    """`summary` by task and form."""
    goals: pl.DataFrame
    """`against_goals`."""
    not_judged: pl.DataFrame
    """`not_judged`."""
    peers: pl.DataFrame
    """`peers.compare`."""
    thresholds: pl.DataFrame
    """`table_of_curves`."""
    proposals: pl.DataFrame
    """`proposals`."""
    rejected_photos: pl.DataFrame
    """Photos and labels that could not be used: image_id, path, rule, detail."""
    pairs: pl.DataFrame
    """Every candidate with photo, form, categories, verified, right and not_judged."""
    models: tuple[str, ...]
    """Identities of the networks that ran."""
    photos: int
    """How many were read."""

    def write(self, folder: Path, config: ForgeConfig) -> list[Path]:
        """Write all tables as CSV, the pairs as Parquet, a picture a task, and what was used as JSON.

        Args:
            folder: made where it is missing; files of the same names are replaced.
            config: whose thresholds were measured.
        """
        folder.mkdir(parents=True, exist_ok=True)
        written: list[Path] = []
        for name in TABLES:
            path = folder / f"{name}.csv"
            getattr(self, name).write_csv(path)
            written.append(path)
        pairs = folder / "pairs.parquet"
        self.pairs.write_parquet(pairs)
        used = folder / "used.json"
        used.write_text(
            json.dumps(
                {
                    "models": list(self.models),
                    "photos": self.photos,
                    "tasks": config.tasks.model_dump(mode="json"),
                    "verification": config.verification.model_dump(mode="json"),
                },
                indent=2,
            )
        )
        right = dict(self.tasks.select("task", "right").iter_rows())
        return [*written, pairs, used, *write_figures(self.thresholds, self.peers, right, folder)]


def calibrate(
    config: ForgeConfig, rgbd: Path | None, boxes: Path | None, progress: Progress | None = None
) -> Calibration:
    """Run the configured networks once over photos with truth, and count right answers in many ways.

    Args:
        config: models, tasks and thresholds; its sources and lake are not used.
        rgbd: folder of photos with `index.json` and measured depth, as in `truth.read_depth`.
        boxes: folder with `images/` and YOLO `labels/`.
        progress: is told the stage, photos done and photos in all.

    Raises:
        CalibrationError: if a folder holds no truth in this layout.
        WeightsError: if the configured networks cannot be had.
    """
    parts: list[Found] = []
    if rgbd is not None:
        parts.append(read_rgbd(config, rgbd, progress))
    if boxes is not None:
        parts.append(read_boxes(config, boxes, progress))
    return measure(together(parts), config, progress)


def measure(found: Found, config: ForgeConfig, progress: Progress | None = None) -> Calibration:
    """Count right answers among the pairs that candidates and rules make of scenes; no network runs.

    Args:
        found: scenes with known truth.
        config: tasks and thresholds.
        progress: is told thresholds moved and thresholds in all.
    """
    photos = found.photos.select("image_id", photo="sha256")
    bootstrap = PhotoBootstrap(photos["photo"].unique().to_list())

    def judged_candidates(thresholds: VerificationConfig) -> pl.DataFrame:
        made = candidates(found.scenes, config.model_copy(update={"verification": thresholds}))
        return pl.concat([made, judge(made, found.truths)], how="horizontal").join(
            photos, on="image_id", maintain_order="left"
        )

    pairs = judged_candidates(config.verification)
    verified, _ = verify(pairs, config.verification)
    pairs = pairs.with_columns(
        pl.col("task").cast(pl.String), verified=pl.col("qa_id").is_in(verified["qa_id"].implode())
    )
    by_task = summary(pairs, bootstrap)
    answerable = pairs.filter(
        pl.Series([is_answerable(pair) for pair in pairs.iter_rows(named=True)], dtype=pl.Boolean)
    )
    moved = curves(pairs, config.verification, bootstrap, judged_candidates, progress)
    return Calibration(
        tasks=by_task,
        forms=summary(pairs, bootstrap, ("task", "form")),
        goals=against_goals(by_task),
        not_judged=not_judged(pairs),
        peers=compare(answerable, peer_answers(found, answerable), bootstrap),
        thresholds=table_of_curves(moved, bootstrap),
        proposals=proposals(moved),
        rejected_photos=found.rejected.select("image_id", "path", "rule", "detail"),
        pairs=pairs,
        models=found.models,
        photos=found.photos.height,
    )
