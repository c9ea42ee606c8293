"""The column contract of every table in the lake: Polars schemas, in one place.

Boxes are float pixels `x1, y1, x2, y2` of the upright photo until they become text; 0-1000 integers after.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

TASKS: Final = ("grounding", "referring", "counting", "near_far", "left_right", "perspective")
PERCEPTION: Final = ("grounding", "referring", "counting")
SPLITS: Final = ("train", "val")
ANSWER_KINDS: Final = ("bbox", "text", "integer", "choice", "yes_no")

Split = pl.Enum(SPLITS)
Task = pl.Enum(TASKS)
Level = pl.Enum(["perception", "relation"])
AnswerKind = pl.Enum(ANSWER_KINDS)
Origin = pl.Enum(["human", "detector", "mirror", "second"])
"""Who found an object; `mirror` and `second`: the mirrored photo alone, the second detector alone."""

Schema = Mapping[str, pl.DataType]

_BOX: Final[dict[str, pl.DataType]] = {name: pl.Float64() for name in ("x1", "y1", "x2", "y2")}
_PARTITION: Final[dict[str, pl.DataType]] = {"source": pl.String(), "shard": pl.String()}

LABEL: Final = pl.Struct(
    {
        "label_id": pl.String(),
        "category": pl.String(),  # of the vocabulary
        "source_category": pl.String(),  # as the source names it
        **_BOX,
        "is_crowd": pl.Boolean(),  # many in one box
        "is_group": pl.Boolean(),  # more than five that touch, in one box; this and all below: null where not said
        "is_depiction": pl.Boolean(),  # a drawing, a statue
        "is_inside": pl.Boolean(),  # seen from within
        "is_occluded": pl.Boolean(),
        "is_truncated": pl.Boolean(),  # reaches out of the photo
        "is_fake": pl.Boolean(),  # a picture or a toy of the object
        "is_reflected": pl.Boolean(),  # in a mirror
    }
)
"""One human label, its box in pixels of the upright photo."""

LABEL_FLAGS: Final = (
    "is_group",
    "is_depiction",
    "is_inside",
    "is_occluded",
    "is_truncated",
    "is_fake",
    "is_reflected",
)
"""What a label may say of its object besides `is_crowd`."""

UNASKABLE_FLAGS: Final = ("is_crowd", "is_group", "is_depiction", "is_inside", "is_fake", "is_reflected")
"""An object so marked is not asked about, and makes the number of its class uncertain."""

POINT: Final = pl.Struct(
    {
        "label_id": pl.String(),
        "category": pl.String(),
        "source_category": pl.String(),
        "x": pl.Float64(),
        "y": pl.Float64(),
    }
)
"""A point that a person set on an object, in pixels of the upright photo."""

COUNT: Final = pl.Struct({"category": pl.String(), "source_category": pl.String(), "count": pl.Int32()})
"""How many objects of a class a person saw in the whole photo."""

RELATIONSHIP: Final = pl.Struct(
    {
        "subject_label_id": pl.String(),
        "predicate": pl.String(),
        "object_label_id": pl.String(),  # null where an attribute is stated
        "attribute": pl.String(),
    }
)
"""What a person said of two labels of a photo, or of one."""

RAW_IMAGES: Final[Schema] = {
    "image_id": pl.String(),  # <source>/<the source's own id>
    **_PARTITION,
    "image": pl.Struct({"bytes": pl.Binary(), "path": pl.String()}),  # as `datasets` has its Image feature
    "format": pl.String(),  # JPEG, PNG, WEBP, ...
    "mode": pl.String(),  # Pillow's: RGB, L, CMYK, ...
    "orientation": pl.Int8(),  # 1-8 as EXIF has it, of the source or the file; decoders turn the photo upright by it
    "width": pl.Int32(),  # after orientation
    "height": pl.Int32(),
    "byte_size": pl.Int64(),
    "sha256": pl.String(),  # of the bytes
    "phash": pl.String(),  # 64-bit perceptual hash, 16 hexadecimal digits; null where the photo shows too little
    "license": pl.String(),
    "split": Split,
    "is_labeled": pl.Boolean(),  # a human labelled this photo, perhaps with no object
    "labels": pl.List(LABEL),
    "labels_dropped": pl.Int32(),  # labels of this photo that could not be used; each is a reject row
    "points": pl.List(POINT),
    "counts": pl.List(COUNT),
    "relationships": pl.List(RELATIONSHIP),
}

REJECTED_IMAGES: Final[Schema] = {
    "image_id": pl.String(),
    **_PARTITION,
    "path": pl.String(),
    "rule": pl.String(),
    "detail": pl.String(),
    "sha256": pl.String(),  # of photos that were dropped as duplicates: they link others to the one that is kept
    "phash": pl.String(),
}
"""Photos, and single labels of photos, that a shard could not take."""

KEYPOINT: Final = pl.Struct({"x": pl.Float64(), "y": pl.Float64(), "score": pl.Float64()})
"""Pixels of the upright photo, score 0-1; lists of 17 in COCO's order."""

DETECTIONS: Final[Schema] = {
    "object_id": pl.String(),  # <image_id>#<origin initial><rank>
    "image_id": pl.String(),
    **_PARTITION,
    "origin": Origin,
    "category": pl.String(),
    **_BOX,
    "is_crowd": pl.Boolean(),
    **dict.fromkeys(LABEL_FLAGS, pl.Boolean()),  # as the human label says; null where it does not
    "score": pl.Float64(),  # detector's; for a human box, of the detector box that matches it, else null
    "match_iou": pl.Float64(),  # human box: IoU with that detector box; detector box: with a human box; null without
    "mirror_score": pl.Float64(),  # of the box found in the mirrored photo that matches, else null
    "mirror_iou": pl.Float64(),
    "mirror_x1": pl.Float64(),  # that box, turned back
    "mirror_y1": pl.Float64(),
    "mirror_x2": pl.Float64(),
    "mirror_y2": pl.Float64(),
    "second_score": pl.Float64(),  # of the second detector's box that matches; 0: none; null: it knows no such class
    "second_iou": pl.Float64(),
    "keypoints": pl.List(KEYPOINT),  # 17 for people whose pose was read, else null
    "mirror_keypoints": pl.List(KEYPOINT),  # from the mirrored photo, turned back with left and right exchanged
    "second_keypoints": pl.List(KEYPOINT),  # from the second pose network, in the photo
    "detector": pl.String(),  # identity of the model
    "second_detector": pl.String(),
    "pose_model": pl.String(),
    "second_pose_model": pl.String(),
}

DEPTH_MAPS: Final[Schema] = {
    "image_id": pl.String(),
    **_PARTITION,
    "reading": pl.String(),  # name of the configured network
    "mirrored": pl.Boolean(),  # read on the mirrored photo and turned back
    "kind": pl.Enum(["metric", "relative"]),  # metres, or depth up to an unknown scale; larger is always farther
    "width": pl.Int32(),  # of the map
    "height": pl.Int32(),
    "near": pl.Float64(),  # depth = near * (far / near) ** (png / 65535)
    "far": pl.Float64(),
    "png": pl.Binary(),  # 16-bit greyscale
    "depth_model": pl.String(),
}

DEPTH_READING: Final = pl.Struct(
    {
        "reading": pl.String(),
        "mirrored": pl.Boolean(),
        "kind": pl.String(),
        "q10": pl.Float64(),
        "q50": pl.Float64(),
        "q90": pl.Float64(),
        "depth_model": pl.String(),
    }
)

HUMAN_COUNT: Final = pl.Struct({"category": pl.String(), "count": pl.Int32()})

SCENES: Final[Schema] = {
    **{name: dtype for name, dtype in DETECTIONS.items() if not name.endswith("keypoints")},
    "is_truncated": pl.Boolean(),  # the box reaches the photo's edge, or the label says that the object does
    "image_sha256": pl.String(),
    "image_width": pl.Int32(),
    "image_height": pl.Int32(),
    "split": Split,
    "license": pl.String(),
    "is_labeled": pl.Boolean(),
    "labels_dropped": pl.Int32(),
    "human_counts": pl.List(HUMAN_COUNT),  # of the whole photo, by people, from counts or complete points
    "area_share": pl.Float64(),  # of the photo, 0-1
    "overlap": pl.Float64(),  # largest share of this box that one other box covers, 0-1
    "occlusion": pl.Float64(),  # largest share that one box in front covers, 0-1
    "class_conflict": pl.Float64(),  # largest IoU with a box of another class, 0-1
    "depth": pl.List(DEPTH_READING),  # per network and mirror, over the eroded box
    "ground_depth": pl.Float64(),  # from where the box meets the ground, in camera heights; null where unusable
    "mirror_ground_depth": pl.Float64(),
    "height_depth": pl.Float64(),  # from pixel height against usual class height, in metres; null where unusable
    "mirror_height_depth": pl.Float64(),
    "facing": pl.Float64(),  # -1 turned away from the camera ... +1 turned to it; null where unread
    "mirror_facing": pl.Float64(),
    "second_facing": pl.Float64(),  # 0 where the second network could not tell; null without one
    "facing_score": pl.Float64(),  # lowest keypoint score that facing rests on
    "color": pl.String(),  # plain basic colour; this and the next three are null where none is plain
    "color_share": pl.Float64(),  # of the pixels looked at, 0-1
    "second_color": pl.String(),  # the runner-up; null too where no pixel has another colour
    "second_share": pl.Float64(),
}

PHRASE: Final = pl.Struct(
    {
        "object_id": pl.String(),
        "kind": pl.String(),  # one of `candidate_qa.phrase_kinds.KINDS`
        "text": pl.String(),
        "value": pl.Float64(),  # how clearly it tells its object from the next, in the unit of its kind; null: class
        "matches": pl.Int32(),  # objects that may be in the photo and that it may fit, its own among them
        "count_spread": pl.Int32(),  # between all counts of its class; null where the phrase needs no complete class
    }
)
"""A phrase that stands for an object, and how well it does."""

EVIDENCE: Final = pl.Struct(
    {
        "scores": pl.List(pl.Float64()),  # of object_ids; for human boxes 1.0
        "mirror_ious": pl.List(pl.Float64()),  # re-detection on the mirrored photo
        "second_scores": pl.List(pl.Float64()),  # of the second detector; null: it does not know the class
        "truncated": pl.List(pl.Boolean()),
        "occlusions": pl.List(pl.Float64()),  # share that one box in front covers
        "class_conflicts": pl.List(pl.Float64()),  # IoU with a box of another class
        "same_category": pl.Int32(),  # objects of the asked class that might be in the photo
        "count_strict": pl.Int32(),  # counting: at the higher confidence threshold
        "count_loose": pl.Int32(),  # at the lower one
        "count_mirror": pl.Int32(),  # in the mirrored photo
        "count_human": pl.Int32(),  # by people; null where they did not count the class
        "readings": pl.List(
            pl.Struct(
                {
                    "reading": pl.String(),
                    "ratio": pl.Float64(),
                    "mirror_ratio": pl.Float64(),
                    "separation": pl.Float64(),
                    "pair": pl.Int32(),  # which of the pairs of objects that the answer rests on, from 0
                }
            )
        ),  # depth of the farther over the nearer, per reading that agrees or not
        "gap": pl.Float64(),  # smallest horizontal gap between the boxes, or to the middle; share of the photo's width
        "mirror_gap": pl.Float64(),
        "center_gap": pl.Float64(),
        "facing": pl.Float64(),
        "mirror_facing": pl.Float64(),
        "second_facing": pl.Float64(),  # null without a second pose network
        "facing_score": pl.Float64(),
        "models": pl.List(pl.String()),
        "phrases": pl.List(PHRASE),  # one for each phrase of question and answer that is no region or point
    }
)

CANDIDATE_QA: Final[Schema] = {
    "qa_id": pl.String(),
    "image_id": pl.String(),
    **_PARTITION,
    "task": Task,
    "level": Level,
    "question": pl.String(),
    "answer": pl.String(),
    "short_answer": pl.String(),  # the same without a sentence around it: a number, an option, a phrase, JSON of boxes
    "answer_kind": AnswerKind,
    "choices": pl.List(pl.String()),
    "category": pl.String(),
    "object_ids": pl.List(pl.String()),
    "answer_object_ids": pl.List(pl.String()),
    "boxes": pl.List(pl.Array(pl.Int32(), 4)),
    "evidence": EVIDENCE,
    "template_id": pl.String(),
    "form": pl.String(),  # of the template: how the task is asked
    "categories": pl.List(pl.String()),  # of object_ids
    "image_width": pl.Int32(),
    "image_height": pl.Int32(),
    "split": Split,
    "license": pl.String(),
}

VERIFIED_QA: Final[Schema] = {**CANDIDATE_QA, "score": pl.Float64()}
"""`score`: how far above its thresholds the pair stands; 0 is just at them."""

REJECTED_QA: Final[Schema] = {
    **CANDIDATE_QA,
    "rule": pl.String(),
    "value": pl.Float64(),
    "threshold": pl.Float64(),
}

DESCRIPTIONS: Final[Schema] = {
    "object_id": pl.String(),
    "image_id": pl.String(),
    **_PARTITION,
    "phrase": pl.String(),  # as the model gave it, without article and full stop
    "is_clean": pl.Boolean(),  # the words alone break no rule
    "matches": pl.Int32(),  # boxes that the model finds for the phrase in the photo; this and the next: null if unread
    "iou": pl.Float64(),  # of the best of them with the object's box; 0 without any
    "mirror_matches": pl.Int32(),  # the same in the mirrored photo
    "mirror_iou": pl.Float64(),
    "drop_rule": pl.String(),  # first rule that the phrase breaks; null where it may be used
    "model": pl.String(),  # identity of the describer
}
"""One row an object that a vision-language model was asked to describe."""

JUDGEMENTS: Final[Schema] = {
    "qa_id": pl.String(),
    "image_id": pl.String(),
    **_PARTITION,
    "task": Task,
    "form": pl.String(),
    "reply": pl.String(),  # as the model gave it
    "agrees": pl.Boolean(),  # null where the reply cannot be read
    "reason": pl.String(),  # why it cannot; null where it can
    "model": pl.String(),  # identity of the judge
}
"""One row a verified pair whose question a vision-language model was asked."""

DUPLICATES: Final[Schema] = {
    "image_id": pl.String(),
    "source": pl.String(),
    "shard": pl.String(),
    "sha256": pl.String(),
    "phash": pl.String(),  # 16 hexadecimal digits; null for a photo with too little detail
    "group_id": pl.String(),  # image_id of the photo of the group that is kept
    "kind": pl.Enum(["exact", "near"]),  # the same bytes as the kept photo, or not
    "distance": pl.Int16(),  # bits in which the hash differs from the kept photo's; null where one has none
    "is_kept": pl.Boolean(),
}
"""One row a photo that is in a group of more than one."""

SCHEMAS: Final[Mapping[str, Schema]] = {
    "raw_images": RAW_IMAGES,
    "rejected_images": REJECTED_IMAGES,
    "detections": DETECTIONS,
    "depth_maps": DEPTH_MAPS,
    "scenes": SCENES,
    "candidate_qa": CANDIDATE_QA,
    "verified_qa": VERIFIED_QA,
    "rejected_qa": REJECTED_QA,
    "descriptions": DESCRIPTIONS,
    "judgements": JUDGEMENTS,
    "duplicates": DUPLICATES,
}
