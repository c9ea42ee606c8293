"""What `forge calibrate` prints: the few columns of its tables that a terminal has room for."""

import polars as pl

from forge_assets.calibration.calibrate import Calibration
from forge_assets.calibration.intervals import CONFIDENCE
from forge_assets.calibration.peers import OURS


def printed_tables(measured: Calibration) -> list[tuple[str, pl.DataFrame]]:
    """Titles and tables, in the order of reading; docs/calibration.md explains their columns."""
    percent = f"{CONFIDENCE:.0%}"
    tables = [
        (f"verified pairs against the truth; low, high: {percent} by Wilson; photo_low, photo_high: over photos",
         measured.tasks),
        ("the same by form", measured.forms.drop("low", "high", "photo_low", "photo_high")),
        ("goals", measured.goals),
        ("candidates that could not be judged", measured.not_judged),
        ("simpler rules on the same candidates", _beside_ours(measured.peers)),
        ("thresholds that these photos speak for, each moved alone", _changes(measured.proposals)),
        ("photos and labels that could not be used", measured.rejected_photos),
    ]  # fmt: skip
    return [(title, rows) for title, rows in tables if rows.height]


def _beside_ours(peers: pl.DataFrame) -> pl.DataFrame:
    ours = pl.col("policy") == OURS
    return peers.with_columns(policy=pl.when(ours).then(pl.lit("VERIFIED")).otherwise("policy")).drop(
        "photo_low", "photo_high"
    )


def _changes(proposals: pl.DataFrame) -> pl.DataFrame:
    """Thresholds of which more can be said than that they change nothing, or that there are too few pairs."""
    return proposals.filter(pl.col("proposed").is_not_null())
