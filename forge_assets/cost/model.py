"""The arithmetic of `forge cost`: hours, bytes, requests and money of so many photos; every line has its formula."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

SECONDS_PER_HOUR: Final = 3_600
BYTES_PER_GB: Final = 1_000_000_000
PRICED_REQUESTS: Final = 1_000
"""Stores sell requests by the thousand."""

Unit = Literal["photo", "candidate", "pair", "rejected pair", "shard"]
"""What a rate is of."""

Processor = Literal["GPU", "CPU"]
RequestKind = Literal["write", "read"]
Section = Literal["work", "GPU", "CPU", "storage", "requests", "money"]


@dataclass(frozen=True)
class Workload:
    """What is to be made."""

    photos: int
    candidates_per_photo: float
    pairs_per_photo: float
    """Verified pairs; the other candidates are rejected."""
    shard_size: int
    """Photos of a shard at most."""

    def amount(self, unit: Unit) -> float:
        """How many there are of a unit."""
        match unit:
            case "photo":
                return self.photos
            case "candidate":
                return self.photos * self.candidates_per_photo
            case "pair":
                return self.photos * self.pairs_per_photo
            case "rejected pair":
                return self.photos * max(self.candidates_per_photo - self.pairs_per_photo, 0.0)
            case "shard":
                return math.ceil(self.photos / self.shard_size)


@dataclass(frozen=True)
class TimeRate:
    """Seconds of one GPU, or of one core of a CPU, that a stage takes for a unit."""

    stage: str
    processor: Processor
    seconds: float
    unit: Unit
    origin: str
    """Where it was measured."""


@dataclass(frozen=True)
class StorageRate:
    """Bytes of a table for a unit."""

    table: str
    bytes: float
    unit: Unit
    origin: str


@dataclass(frozen=True)
class RequestRate:
    """S3 requests of a stage and its gate: so many a shard, and so many more for each of its photos."""

    stage: str
    kind: RequestKind
    per_shard: float
    per_photo: float
    origin: str


@dataclass(frozen=True)
class Rates:
    """All that was measured."""

    times: Sequence[TimeRate]
    storage: Sequence[StorageRate]
    requests: Sequence[RequestRate]


@dataclass(frozen=True)
class Prices:
    """What is paid, all in one currency; None where no price is given."""

    gpu_hour: float | None = None
    cpu_hour: float | None = None
    """Of one core."""
    gb_month: float | None = None
    months: float = 1.0
    """How long all tables are kept."""
    thousand_writes: float | None = None
    thousand_reads: float | None = None


@dataclass(frozen=True)
class Line:
    """One amount and how it came about."""

    section: Section
    name: str
    amount: float
    unit: str
    formula: str
    origin: str = ""


@dataclass(frozen=True)
class Estimate:
    """All lines, by section."""

    lines: Sequence[Line] = field(default_factory=tuple)

    def total(self, section: Section) -> float:
        """The sum of a section: hours, GB, requests or money.

        Raises:
            ValueError: for the section `work`, whose lines count different things.
        """
        if section == "work":
            raise ValueError("photos and pairs have no sum")
        return math.fsum(line.amount for line in self.lines if line.section == section)


def estimate(work: Workload, rates: Rates, prices: Prices) -> Estimate:
    """What a workload takes, and what that costs where prices are given.

    Amounts are linear in photos, except that a shard that has begun counts as a whole one.
    """
    amounts = (*_work(work), *_hours(work, rates), *_stored(work, rates), *_requests(work, rates))
    return Estimate((*amounts, *_money(amounts, prices)))


def _work(work: Workload) -> Iterator[Line]:
    photos = f"{work.photos:,} photos"
    yield Line("work", "photos", work.photos, "photos", "as asked")
    yield Line("work", "shards", work.amount("shard"), "shards", f"{photos} / {work.shard_size:,} a shard, rounded up")
    candidates, pairs = work.candidates_per_photo, work.pairs_per_photo
    yield Line("work", "candidates", work.amount("candidate"), "pairs", f"{photos} x {_short(candidates)} a photo")
    yield Line("work", "verified pairs", work.amount("pair"), "pairs", f"{photos} x {_short(pairs)} a photo")


def _hours(work: Workload, rates: Rates) -> Iterator[Line]:
    for processor in ("GPU", "CPU"):
        for rate in rates.times:
            if rate.processor == processor:
                count = work.amount(rate.unit)
                formula = f"{_count(count, rate.unit)} x {_short(rate.seconds)} s / {SECONDS_PER_HOUR:,}"
                hours = count * rate.seconds / SECONDS_PER_HOUR
                yield Line(processor, rate.stage, hours, "hours", formula, rate.origin)


def _stored(work: Workload, rates: Rates) -> Iterator[Line]:
    for rate in rates.storage:
        count = work.amount(rate.unit)
        formula = f"{_count(count, rate.unit)} x {_short(rate.bytes)} bytes / 10^9"
        yield Line("storage", rate.table, count * rate.bytes / BYTES_PER_GB, "GB", formula, rate.origin)


def _requests(work: Workload, rates: Rates) -> Iterator[Line]:
    shards, photos = work.amount("shard"), work.amount("photo")
    for rate in rates.requests:
        of_photos = f" + {_count(photos, 'photo')} x {_short(rate.per_photo)}" if rate.per_photo else ""
        formula = f"{_count(shards, 'shard')} x {_short(rate.per_shard)}{of_photos}"
        amount = shards * rate.per_shard + photos * rate.per_photo
        yield Line("requests", f"{rate.stage}, {rate.kind}s", amount, f"{rate.kind}s", formula, rate.origin)


def _money(amounts: Sequence[Line], prices: Prices) -> Iterator[Line]:
    def of(section: Section, unit: str) -> float:
        return math.fsum(line.amount for line in amounts if line.section == section and line.unit == unit)

    stored, kept = of("storage", "GB"), f"{_short(prices.months)} months"
    priced: Mapping[str, tuple[float, float | None, str]] = {
        "GPU": (of("GPU", "hours"), prices.gpu_hour, "GPU hours"),
        "CPU": (of("CPU", "hours"), prices.cpu_hour, "core hours"),
        "storage": (stored * prices.months, prices.gb_month, f"GB months, {_short(stored)} GB for {kept}"),
        "writes": (of("requests", "writes") / PRICED_REQUESTS, prices.thousand_writes, "thousand writes"),
        "reads": (of("requests", "reads") / PRICED_REQUESTS, prices.thousand_reads, "thousand reads"),
    }
    for name, (amount, price, what) in priced.items():
        if price is not None:
            yield Line("money", name, amount * price, "", f"{_short(amount)} x {_short(price)} ({what})")


def _count(amount: float, unit: Unit) -> str:
    return f"{amount:,.0f} {unit}{'' if amount == 1 else 's'}"


def _short(value: float) -> str:
    """Four digits, however large or small, without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
