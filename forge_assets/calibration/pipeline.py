"""All stages up to candidates over one folder with known truth; human labels are hidden from every one of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from forge_assets.calibration.truth import PhotoTruth, boxes_of, depth_index, read_depth
from forge_assets.depth_maps.encoding import DepthMap, decode_depth
from forge_assets.depth_maps.read_depth import depth_maps
from forge_assets.detections.detect import Networks, detections
from forge_assets.raw_images.naming import LabelNaming
from forge_assets.raw_images.photos import RejectedPhotos, raw_images
from forge_assets.scenes.build import nameable, scenes
from forge_assets.scenes.colors import colors_of_shard
from forge_assets.scenes.depth_quantiles import depths_of_shard
from forge_assets.tables import DEPTH_MAPS, RAW_IMAGES
from forge_resources.config import ForgeConfig, ImageFolderConfig
from forge_resources.lake import Lake
from forge_resources.models.selection import load_depth
from forge_resources.shards import ShardKey
from forge_resources.sources import open_source
from forge_resources.vocabulary import Vocabulary

RGBD, BOXES = "rgbd", "boxes"
"""Names of the two folders, with which image ids begin."""

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, photos done and photos in all."""


@dataclass(frozen=True, eq=False)
class Found:
    """What the pipeline made of folders with known truth."""

    photos: pl.DataFrame
    """image_id, sha256, width and height of each photo."""
    scenes: pl.DataFrame
    """Rows of `SCENES`."""
    truths: Mapping[str, PhotoTruth]
    """What is known of each photo, by image_id."""
    maps: Mapping[str, DepthMap]
    """The first network's depth of each photo of measured depth, by image_id; empty without a network."""
    rejected: pl.DataFrame
    """Rows of `REJECTED_IMAGES`: photos and labels that could not be used."""
    models: tuple[str, ...]
    """Identities of the networks that ran."""


def read_rgbd(config: ForgeConfig, folder: Path, progress: Progress | None = None) -> Found:
    """Run the networks over photos with measured depth.

    Raises:
        CalibrationError: if the folder's index or a depth file is missing or wrong.
    """
    kinds = depth_index(folder)
    measured = {stem: read_depth(folder, stem, kind) for stem, kind in kinds.items()}

    def truths(photos: pl.DataFrame) -> dict[str, PhotoTruth]:
        return {image_id: PhotoTruth(depth=measured.get(Path(image_id).stem)) for image_id in photos["image_id"]}

    return _read(config, ShardKey.numbered(RGBD, 0), ImageFolderConfig(path=folder), truths, progress)


def read_boxes(config: ForgeConfig, folder: Path, progress: Progress | None = None) -> Found:
    """Run the networks over photos with human boxes: `images/`, and YOLO text files in `labels/`."""
    source = ImageFolderConfig(path=folder / "images", labels="yolo", labels_path=folder / "labels")

    def truths(photos: pl.DataFrame) -> dict[str, PhotoTruth]:
        return {image_id: PhotoTruth(boxes=boxes) for image_id, boxes in boxes_of(photos.filter("is_labeled")).items()}

    return _read(config, ShardKey.numbered(BOXES, 0), source, truths, progress)


def together(parts: list[Found]) -> Found:
    """Folders as one; image ids tell them apart."""
    return Found(
        photos=pl.concat([part.photos for part in parts]),
        scenes=pl.concat([part.scenes for part in parts]),
        truths={image_id: truth for part in parts for image_id, truth in part.truths.items()},
        maps={image_id: depth for part in parts for image_id, depth in part.maps.items()},
        rejected=pl.concat([part.rejected for part in parts]),
        models=tuple(dict.fromkeys(model for part in parts for model in part.models)),
    )


def _read(
    config: ForgeConfig,
    key: ShardKey,
    source: ImageFolderConfig,
    truths_of: Callable[[pl.DataFrame], Mapping[str, PhotoTruth]],
    progress: Progress | None,
) -> Found:
    photos = open_source(key.source, source, config.s3, config.cache)
    naming = LabelNaming(Vocabulary.packaged(), "coco")
    members = photos.list_photos()
    models = config.models
    networks, depth_networks = Networks.load(config), load_depth(config)

    def heard(stage: str) -> Callable[[int], None]:
        return lambda done: progress(f"{key.source}: {stage}", done, len(members)) if progress is not None else None

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
        truths = truths_of(rows)
        batches = _without_labels(lake.batches("raw_images", key, models.detector.batch_size))
        objects = pl.concat(detections(batches, networks, models, heard("detections")))
        batches = lake.batches("raw_images", key, models.depth_batch_size)
        maps = pl.concat(
            [pl.DataFrame(schema=dict(DEPTH_MAPS)), *depth_maps(batches, depth_networks, models, heard("depth_maps"))]
        )
        named = nameable(objects)
        depths = depths_of_shard([maps] if maps.height else [], named, rows)
        colors = colors_of_shard(lake.batches("raw_images", key, models.detector.batch_size), named)
    unlabeled = rows.with_columns(is_labeled=pl.lit(value=False), labels_dropped=pl.lit(0))
    identities = [*networks.names.values(), *(network.identity for network in depth_networks)]
    return Found(
        photos=rows.select("image_id", "sha256", "width", "height"),
        scenes=scenes(unlabeled, objects, depths, colors),
        truths=truths,
        maps=_first_reading(maps, truths),
        rejected=rejects.frame(),
        models=tuple(identities),
    )


def _first_reading(maps: pl.DataFrame, truths: Mapping[str, PhotoTruth]) -> dict[str, DepthMap]:
    """The maps of one network, of the photos themselves, where depth was measured too."""
    upright = maps.filter(~pl.col("mirrored") & (pl.col("reading") == pl.col("reading").min()))
    return {
        row["image_id"]: decode_depth(row["png"], row["near"], row["far"])
        for row in upright.iter_rows(named=True)
        if row["image_id"] in truths and truths[row["image_id"]].depth is not None
    }


def _without_labels(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    for batch in batches:
        yield batch.with_columns(is_labeled=pl.lit(value=False), labels=pl.lit([], dtype=RAW_IMAGES["labels"]))
