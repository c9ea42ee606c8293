"""The rates that `forge cost` takes where it is given no others: those of docs/benchmarks.md and docs/cost.md."""

from collections.abc import Sequence
from typing import Final

from forge_assets.cost.model import Rates, RequestRate, StorageRate, TimeRate

PHOTOS: Final = 2_800_000
PAIRS: Final = 10_200_000
"""Photos and pairs of the headline run, SpatialForge-10M."""

PAIRS_PER_PHOTO: Final = PAIRS / PHOTOS
CANDIDATES_PER_PHOTO: Final = 21.2
SHARD_SIZE: Final = 2_000

_RUN: Final = "cost.md#counted"
_PAGE: Final = "benchmarks.md"

TIMES: Final[Sequence[TimeRate]] = (
    TimeRate("raw_images", "CPU", 0.00202, "photo", f"{_PAGE}#ingest: 1024x768, 107 kB"),
    TimeRate("detections", "CPU", 0.273, "photo", f"{_PAGE}#networks: two detectors, two pose networks"),
    TimeRate("depth_maps", "CPU", 0.032, "photo", f"{_PAGE}#networks: FastDepth"),
    TimeRate("scenes", "CPU", 0.00379, "photo", f"{_PAGE}#scenes: 8 objects a photo"),
    TimeRate("candidate_qa", "CPU", 1 / 66_576, "candidate", f"{_PAGE}#candidates"),
    TimeRate("verified_qa", "CPU", 1 / 159_962, "candidate", f"{_PAGE}#verification"),
    TimeRate("gates", "CPU", 1.356, "shard", f"{_PAGE}#gates: the six of a shard of 1,250 photos"),
    TimeRate("process start", "CPU", 5.7, "shard", f"{_PAGE}#orchestration: one run through the daemon"),
)

STORAGE: Final[Sequence[StorageRate]] = (
    StorageRate("raw_images", 107_000, "photo", f"{_PAGE}#ingest: the photos' own bytes"),
    StorageRate("detections", 2_391, "photo", _RUN),
    StorageRate("depth_maps", 56_600, "photo", f"{_PAGE}#depth-storage"),
    StorageRate("scenes", 1_639, "photo", _RUN),
    StorageRate("candidate_qa", 245, "candidate", f"{_PAGE}#audits: a lake of 10.2 million pairs"),
    StorageRate("verified_qa", 245, "pair", f"{_PAGE}#audits: a lake of 10.2 million pairs"),
    StorageRate("rejected_qa", 245, "rejected pair", f"{_PAGE}#audits: a lake of 10.2 million pairs"),
)

PART_BYTES: Final = 8 * 1024 * 1024
"""A larger file goes up in parts of so many bytes, each a request: the default of boto3."""


def _writes(stage: str, per_shard: float, bytes_per_photo: float = 0.0) -> RequestRate:
    return RequestRate(stage, "write", per_shard, bytes_per_photo / PART_BYTES, _RUN)


REQUESTS: Final[Sequence[RequestRate]] = (
    _writes("raw_images", 10, 107_000),
    _writes("detections", 5),
    _writes("depth_maps", 6, 56_600),
    _writes("scenes", 5),
    _writes("candidate_qa", 5),
    _writes("verified_qa", 9),
    RequestRate("raw_images", "read", 17, 0.048, _RUN),
    RequestRate("detections", "read", 25, 0.05, _RUN),
    RequestRate("depth_maps", "read", 26, 0.098, _RUN),
    RequestRate("scenes", "read", 43, 0.08, _RUN),
    RequestRate("candidate_qa", "read", 33, 0.035, _RUN),
    RequestRate("verified_qa", "read", 53, 0.04, _RUN),
)
"""With gates and the pictures that the UI shows. Writes are PUT, POST, LIST and DELETE; reads are GET and HEAD."""

RATES: Final = Rates(TIMES, STORAGE, REQUESTS)
