"""`forge calibrate`: precision and yield of verified pairs on photos with known truth."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from forge_assets.calibration.truth import boxes_of, judge_by_boxes, judge_by_depth, read_depth
from forge_assets.candidate_qa.generate import candidates
from forge_assets.depth_maps.read_depth import depth_maps
from forge_assets.detections.detect import detections
from forge_assets.raw_images.naming import LabelNaming
from forge_assets.raw_images.photos import RejectedPhotos, raw_images
from forge_assets.scenes.build import scenes
from forge_assets.scenes.depth_quantiles import depths_of_shard
from forge_assets.tables import RAW_IMAGES, TASKS
from forge_assets.verified_qa.verify import verify
from forge_resources.config import ForgeConfig, ImageFolderConfig
from forge_resources.lake import Lake
from forge_resources.models.selection import load_depth, load_detector, load_pose
from forge_resources.shards import ShardKey
from forge_resources.sources import open_source
from forge_resources.vocabulary import Vocabulary

CONFIDENCE = 0.95

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, photos done and photos in all."""


def calibrate(
    config: ForgeConfig,
    rgbd: Path | None,
    boxes: Path | None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Run the real backends over photos with truth and count right answers.

    Args:
        config: models, tasks and thresholds; its sources and lake are not used.
        rgbd: folder of photos with `index.json` and measured depth, as in `truth.read_depth`.
        boxes: folder with `images/` and YOLO `labels/`.
        progress: is told the stage, photos done and photos in all.

    Returns:
        `summary` of all pairs judged.
    """
    judged: list[pl.DataFrame] = []
    if rgbd is not None:
        judged.append(_by_depth(config, rgbd, progress))
    if boxes is not None:
        judged.append(_by_boxes(config, boxes, progress))
    return summary(pl.concat(judged))


def summary(judged: pl.DataFrame) -> pl.DataFrame:
    """Per task: candidates and verified pairs that the truth judges, how many are right, precision and yield.

    Args:
        judged: task, verified, right; rows with unknown truth are left out.

    Returns:
        task, candidates, candidates_right, verified, verified_right, precision with the ends of its Wilson
        interval (95 %), yield (verified and right of all candidates that are right), in the order of TASKS.
    """
    known = judged.filter(pl.col("right").is_not_null())
    rows = known.group_by("task").agg(
        candidates=pl.len(),
        candidates_right=pl.col("right").sum(),
        verified=pl.col("verified").sum(),
        verified_right=(pl.col("verified") & pl.col("right")).sum(),
    )
    order = pl.DataFrame({"task": TASKS, "place": range(len(TASKS))})
    rows = rows.join(order, on="task").sort("place").drop("place")
    intervals = [_interval(right, of) for right, of in rows.select("verified_right", "verified").iter_rows()]
    return rows.with_columns(
        precision=pl.when(pl.col("verified") > 0).then(pl.col("verified_right") / pl.col("verified")),
        low=pl.Series([low for low, _ in intervals], dtype=pl.Float64),
        high=pl.Series([high for _, high in intervals], dtype=pl.Float64),
        **{
            "yield": pl.when(pl.col("candidates_right") > 0).then(pl.col("verified_right") / pl.col("candidates_right"))
        },
    )


def _interval(right: int, of: int) -> tuple[float | None, float | None]:
    from scipy.stats import binomtest

    if of == 0:
        return None, None
    interval = binomtest(right, of).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class _Found:
    """What the pipeline made of one folder."""

    photos: pl.DataFrame
    scenes: pl.DataFrame
    pairs: pl.DataFrame


def _by_depth(config: ForgeConfig, folder: Path, progress: Progress | None) -> pl.DataFrame:
    kinds = {entry["name"]: entry["kind"] for entry in json.loads((folder / "index.json").read_text())}
    found = _pipeline(config, ImageFolderConfig(path=folder), progress)
    depths = {
        image_id: read_depth(folder, stem, kinds[stem])
        for image_id in found.photos["image_id"]
        if (stem := Path(image_id).stem) in kinds
    }
    return _judged(config, found, judge_by_depth(found.pairs, depths))


def _by_boxes(config: ForgeConfig, folder: Path, progress: Progress | None) -> pl.DataFrame:
    source = ImageFolderConfig(path=folder / "images", labels="yolo", labels_path=folder / "labels")
    found = _pipeline(config, source, progress)
    labeled = found.photos.filter("is_labeled")
    categories = dict(found.scenes.select("object_id", "category").iter_rows())
    known = found.pairs.filter(pl.col("image_id").is_in(labeled["image_id"].implode()))
    of_labeled = replace(found, pairs=known)
    return _judged(config, of_labeled, judge_by_boxes(known, boxes_of(labeled), categories))


def _pipeline(config: ForgeConfig, source: ImageFolderConfig, progress: Progress | None) -> _Found:
    """All stages up to candidates over one folder, the human labels kept from every one of them."""
    key = ShardKey.numbered("calibration", 0)
    photos = open_source(key.source, source, config.s3, config.cache)
    naming = LabelNaming(Vocabulary.packaged(), "coco")
    members = photos.list_photos()

    def heard(stage: str) -> Callable[[int], None]:
        return lambda done: progress(stage, done, len(members)) if progress is not None else None

    with TemporaryDirectory(prefix="forge-calibrate-") as folder:
        lake = Lake(Path(folder))
        rejects = RejectedPhotos(key)
        lake.write(
            "raw_images",
            key,
            raw_images(key, members, photos, source, naming=naming, val_share=0, rejects=rejects),
            RAW_IMAGES,
        )
        rows = lake.scan("raw_images", key).drop("image").collect()
        unlabeled = rows.with_columns(is_labeled=pl.lit(value=False), labels_dropped=pl.lit(0))
        models = config.models
        objects = pl.concat(
            detections(
                _without_labels(lake.batches("raw_images", key, models.detector.batch_size)),
                load_detector(config), load_pose(config), models, heard("detections"),
            )
        )  # fmt: skip
        batches = lake.batches("raw_images", key, models.depth_batch_size)
        maps = depth_maps(batches, load_depth(config), models, heard("depth_maps"))
        depths = depths_of_shard(maps, objects, rows)
    found = scenes(unlabeled, objects, depths)
    return _Found(rows, found, candidates(found, config))


def _without_labels(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    for batch in batches:
        yield batch.with_columns(is_labeled=pl.lit(value=False), labels=pl.lit([], dtype=RAW_IMAGES["labels"]))


def _judged(config: ForgeConfig, found: _Found, right: pl.Series) -> pl.DataFrame:
    verified, _ = verify(found.pairs, config.verification)
    return found.pairs.select(
        "qa_id",
        pl.col("task").cast(pl.String),
        verified=pl.col("qa_id").is_in(verified["qa_id"].implode()),
        right=right,
    )
