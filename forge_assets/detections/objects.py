"""The objects of one photo: human labels, the detector's boxes, and how they and the mirrored photo's match."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forge_assets.tables import LABEL_FLAGS
from forge_resources.models.boxes import Boxes, FloatArray, iou_matrix, match_one_to_one

PERSON: Final = "person"
MIN_MIRROR_MATCH_IOU: Final = 0.3
MIN_HUMAN_MATCH_IOU: Final = 0.5
SAME_OBJECT_IOU: Final = 0.6
"""Of two boxes of one class this alike, one is no other object: networks suppress the weaker one."""
_NOBODY: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class SecondOpinion:
    """What the second detector found in one photo."""

    boxes: Boxes
    knows: frozenset[str]
    """The classes that it could have found."""


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Everything found and labelled in one photo; `h` runs over human labels, `d` over the detector's boxes."""

    human: FloatArray
    """Shape (H, 4), clipped to the photo, in the source's order."""
    human_categories: list[str]
    is_crowd: NDArray[np.bool_]
    """Shape (H,): crowds and groups."""
    detected: Boxes
    """D boxes in the photo."""
    mirrored: Boxes
    """M boxes of the mirrored photo, turned back."""
    mirror_of: NDArray[np.intp]
    """Shape (D,): the mirrored photo's box of each, -1 without."""
    mirror_iou: FloatArray
    """Shape (D, M), 0 across categories."""
    second: SecondOpinion | None
    """None without a second detector."""
    second_of: NDArray[np.intp]
    """Shape (D,): the second detector's box of each, -1 without."""
    second_iou: FloatArray
    """Shape (D, S) for its S boxes, 0 across categories."""
    detected_of: NDArray[np.intp]
    """Shape (H,): the detector's box of each label, -1 without."""
    human_iou: FloatArray
    """Shape (H, D), 0 across categories and for crowds."""
    person_of: tuple[NDArray[np.intp], NDArray[np.intp]]
    """Of each label and of each detected box its row in `people`, -1 without."""
    people: FloatArray
    """Shape (P, 4): boxes whose pose is asked for."""


def gather(
    photo: Mapping[str, Any],
    detected: Boxes,
    mirrored: Boxes,
    min_person_score: float,
    second: SecondOpinion | None = None,
) -> Objects:
    """Match labels, boxes, the mirrored photo's boxes and the second detector's within each category.

    Matches are one to one, the largest overlap first: boxes of photo and mirror, and of both detectors, from an IoU
    of 0.3, labels and boxes from 0.5. Crowds match nothing. Each person is asked once: a label takes the pose of the
    detected person that it matches, and has its own box asked where there is none of at least `min_person_score`.

    Args:
        photo: row of `raw_images`; `labels` may be null.
        detected: boxes in the photo.
        mirrored: boxes in the mirrored photo, turned back.
        min_person_score: weaker people are not asked for their pose.
        second: what another detector found.

    Raises:
        ValueError: if a label's box lies outside the photo or is empty.
    """
    labels = photo["labels"] or []
    categories = [label["category"] for label in labels]
    human = _clipped(labels, photo)
    is_crowd = np.array([bool(label["is_crowd"] or label["is_group"]) for label in labels], dtype=np.bool_)
    mirror_iou = iou_matrix(detected.xyxy, mirrored.xyxy) * _same(detected.categories, mirrored.categories)
    second_iou = _second_iou(detected, second)
    human_iou = iou_matrix(human, detected.xyxy) * _same(categories, detected.categories) * ~is_crowd[:, None]
    detected_of = match_one_to_one(human_iou, MIN_HUMAN_MATCH_IOU)

    is_asked = np.array([name == PERSON for name in detected.categories], dtype=np.bool_)
    is_asked &= detected.scores >= min_person_score
    detected_person = np.where(is_asked, np.cumsum(is_asked) - 1, _NOBODY)
    asks_itself = np.array([name == PERSON for name in categories], dtype=np.bool_) & ~is_crowd
    human_person = np.full(len(labels), _NOBODY)
    for index in np.flatnonzero(asks_itself & (detected_of >= 0)):
        human_person[index] = detected_person[detected_of[index]]
    asks_itself &= human_person < 0
    human_person[asks_itself] = int(is_asked.sum()) + np.arange(int(asks_itself.sum()))
    return Objects(
        human=human,
        human_categories=categories,
        is_crowd=is_crowd,
        detected=detected,
        mirrored=mirrored,
        mirror_of=match_one_to_one(mirror_iou, MIN_MIRROR_MATCH_IOU),
        mirror_iou=mirror_iou,
        second=second,
        second_of=match_one_to_one(second_iou, MIN_MIRROR_MATCH_IOU),
        second_iou=second_iou,
        detected_of=detected_of,
        human_iou=human_iou,
        person_of=(human_person, detected_person),
        people=np.concatenate([detected.xyxy[is_asked], human[asks_itself]]),
    )


def rows(
    photo: Mapping[str, Any],
    found: Objects,
    poses: FloatArray | None,
    mirror_poses: FloatArray | None,
    second_poses: FloatArray | None = None,
    *,
    models: Mapping[str, str | None],
) -> list[dict[str, Any]]:
    """The photo's rows of `detections`, sorted by object_id.

    Boxes that only the mirrored photo or only the second detector shows have rows of their own: such an object
    may be there too.

    Args:
        photo: row of `raw_images`.
        found: its objects.
        poses: shape (P, 17, 3) for `found.people`, NaN where none was found; None without a pose network.
        mirror_poses: the same from the mirrored photo, turned back.
        second_poses: the same of the second pose network, in the photo.
        models: identities of the networks by their columns: detector, second_detector, pose_model, second_pose_model.
    """
    common = {
        "image_id": photo["image_id"],
        "source": photo["source"],
        "shard": photo["shard"],
        **models,
    }
    human_person, detected_person = found.person_of
    made: list[dict[str, Any]] = []
    for index, box in enumerate(found.detected.xyxy):
        overlaps = found.human_iou[:, index]
        made.append(
            {
                **common,
                "object_id": f"{photo['image_id']}#d{index:03d}",
                "origin": "detector",
                "category": found.detected.categories[index],
                **_corners("", box),
                "is_crowd": False,
                **dict.fromkeys(LABEL_FLAGS),
                "score": float(found.detected.scores[index]),
                "match_iou": float(overlaps.max(initial=0.0)) if photo["is_labeled"] else None,
                **_mirror_evidence(found, index),
                **_second_evidence(found, found.detected.categories[index], index),
                **_pose(poses, mirror_poses, second_poses, int(detected_person[index])),
            }
        )
    for index, box in enumerate(found.human):
        match = int(found.detected_of[index])
        made.append(
            {
                **common,
                "object_id": f"{photo['image_id']}#h{index:03d}",
                "origin": "human",
                "category": found.human_categories[index],
                **_corners("", box),
                "is_crowd": bool(photo["labels"][index]["is_crowd"]),
                **{flag: photo["labels"][index][flag] for flag in LABEL_FLAGS},
                "score": float(found.detected.scores[match]) if match >= 0 else None,
                "match_iou": float(found.human_iou[index, match]) if match >= 0 else None,
                **_mirror_evidence(found, match),
                **_second_evidence(found, found.human_categories[index], match),
                **_pose(poses, mirror_poses, second_poses, int(human_person[index])),
            }
        )
    made += [{**common, **row} for row in _found_elsewhere(photo, found)]
    return sorted(made, key=lambda row: row["object_id"])


def _clipped(labels: list[dict[str, Any]], photo: Mapping[str, Any]) -> FloatArray:
    corners = np.array([[label[side] for side in ("x1", "y1", "x2", "y2")] for label in labels], dtype=np.float64)
    corners = np.clip(corners.reshape(-1, 4), 0.0, [photo["width"], photo["height"]] * 2)
    for label, (x1, y1, x2, y2) in zip(labels, corners, strict=True):
        if x1 >= x2 or y1 >= y2:
            raise ValueError(f"{photo['image_id']}: the box of label {label['label_id']} is empty within the photo")
    return corners


def _same(first: list[str], second: list[str]) -> NDArray[np.bool_]:
    return np.array(first, dtype=np.str_)[:, None] == np.array(second, dtype=np.str_)[None, :]


def _corners(prefix: str, box: FloatArray | None) -> dict[str, float | None]:
    sides = ("x1", "y1", "x2", "y2")
    return {f"{prefix}{side}": None if box is None else float(box[i]) for i, side in enumerate(sides)}


def _mirror_evidence(found: Objects, detected: int) -> dict[str, float | None]:
    match = int(found.mirror_of[detected]) if detected >= 0 else _NOBODY
    if match < 0:
        return {"mirror_score": None, "mirror_iou": None, **_corners("mirror_", None)}
    box = found.mirrored.xyxy[match]
    return {
        "mirror_score": float(found.mirrored.scores[match]),
        "mirror_iou": float(found.mirror_iou[detected, match]),
        **_corners("mirror_", box),
    }


def _second_iou(detected: Boxes, second: SecondOpinion | None) -> FloatArray:
    if second is None:
        return np.empty((len(detected), 0))
    return iou_matrix(detected.xyxy, second.boxes.xyxy) * _same(detected.categories, second.boxes.categories)


def _second_evidence(found: Objects, category: str, detected: int) -> dict[str, float | None]:
    """Null where there is no second detector or it does not know the class; 0 where it does and found nothing."""
    if found.second is None or category not in found.second.knows:
        return {"second_score": None, "second_iou": None}
    match = int(found.second_of[detected]) if detected >= 0 else _NOBODY
    if match < 0:
        return {"second_score": 0.0, "second_iou": 0.0}
    return {
        "second_score": float(found.second.boxes.scores[match]),
        "second_iou": float(found.second_iou[detected, match]),
    }


def _found_elsewhere(photo: Mapping[str, Any], found: Objects) -> Iterator[dict[str, Any]]:
    """Rows of boxes that nothing in the photo itself matches."""
    others = [("mirror", found.mirrored, found.mirror_of)]
    if found.second is not None:
        others.append(("second", found.second.boxes, found.second_of))
    for origin, boxes, matched in others:
        ious = iou_matrix(boxes.xyxy, found.detected.xyxy) * _same(boxes.categories, found.detected.categories)
        is_known = ious.max(axis=1, initial=0.0) >= SAME_OBJECT_IOU
        is_known[matched[matched >= 0]] = True
        human_ious = iou_matrix(boxes.xyxy, found.human) * _same(boxes.categories, found.human_categories)
        for index in np.flatnonzero(~is_known):
            yield {
                "object_id": f"{photo['image_id']}#{origin[0]}{index:03d}",
                "origin": origin,
                "category": boxes.categories[index],
                **_corners("", boxes.xyxy[index]),
                "is_crowd": False,
                "score": float(boxes.scores[index]),
                "match_iou": float(human_ious[index].max(initial=0.0)) if photo["is_labeled"] else None,
            }


def _pose(
    poses: FloatArray | None, mirror_poses: FloatArray | None, second_poses: FloatArray | None, person: int
) -> dict[str, Any]:
    return {
        "keypoints": _keypoints(poses, person),
        "mirror_keypoints": _keypoints(mirror_poses, person),
        "second_keypoints": _keypoints(second_poses, person),
    }


def _keypoints(poses: FloatArray | None, person: int) -> list[dict[str, float]] | None:
    if poses is None or person < 0 or np.isnan(poses[person]).any():
        return None
    return [{"x": float(x), "y": float(y), "score": float(score)} for x, y, score in poses[person]]
