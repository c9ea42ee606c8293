"""Whether a person is turned to the camera, from keypoints: shoulder order, checked by the face.

Keypoints are COCO's 17: left and right are the person's own.
"""

from typing import Final

import polars as pl

NOSE, LEFT_EYE, RIGHT_EYE, LEFT_SHOULDER, RIGHT_SHOULDER = 0, 1, 2, 5, 6

FRONTAL_SHOULDERS: Final = 1.2
"""Width of frontal shoulders over the height of the nose above them (adult anthropometry: 0.38 m over 0.3 m)."""
FACE_SEEN: Final = 0.35
"""Score from which a keypoint of the face counts as seen."""
FACE_HIDDEN: Final = 0.25
"""Score below which it counts as hidden."""


def _point(keypoints: pl.Expr, index: int, field: str) -> pl.Expr:
    return keypoints.list.get(index, null_on_oob=True).struct.field(field)


def facing(column: str) -> pl.Expr:
    """How far a person is turned to the camera: +1 frontal, 0 in profile, -1 seen from behind.

    Seen from the front a person's left shoulder is on the right of the picture, so the signed width of the
    shoulders over the width that frontal ones would have tells the turn. Null where the face contradicts
    the shoulders (a front whose nose and eyes are hidden or whose eyes are in the other order, a back with a
    face) and where there are no keypoints.

    Args:
        column: a list of 17 structs x, y (pixels, y downwards), score (0-1).
    """
    points = pl.col(column)
    width = _point(points, LEFT_SHOULDER, "x") - _point(points, RIGHT_SHOULDER, "x")
    shoulders_y = (_point(points, LEFT_SHOULDER, "y") + _point(points, RIGHT_SHOULDER, "y")) / 2
    rise = shoulders_y - _point(points, NOSE, "y")
    turn = (width / (FRONTAL_SHOULDERS * rise)).clip(-1, 1)
    face = [_point(points, index, "score") for index in (NOSE, LEFT_EYE, RIGHT_EYE)]
    eyes_in_order = _point(points, LEFT_EYE, "x") > _point(points, RIGHT_EYE, "x")
    face_seen, face_hidden = pl.min_horizontal(face) >= FACE_SEEN, pl.max_horizontal(face) < FACE_HIDDEN
    agrees = pl.when(turn > 0).then(face_seen & eyes_in_order).otherwise(face_hidden)
    return pl.when((rise > 0) & agrees).then(turn)


def facing_score(column: str) -> pl.Expr:
    """The lower of the two shoulders' keypoint scores, 0-1; null where there are no keypoints."""
    return pl.min_horizontal(*(_point(pl.col(column), index, "score") for index in (LEFT_SHOULDER, RIGHT_SHOULDER)))
