"""What the gates cost: seconds of each on one shard, the same rules in SQL, and their share of a shard's way.

    python tests/benchmarks/gates.py [--photos 1250] [--way 200]

The shard is made up: photos without bytes, eight objects each, scenes of these, and the pairs that the stages make of
the scenes. Every gate judges it as `forge run` lets it. Beside it stand two limits: the whole gate with its rules as
one query of DuckDB in place of Great Expectations, and that query alone. All times are the best of a few.

A shard's way is measured on other photos, crops of those that ship inside installed packages: `forge run` with the
embedded networks, the fastest there are. Its seconds a photo times the photos of the made-up shard is the whole that
the gates are a share of.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from PIL import Image
from rich.console import Console
from rich.table import Table

from forge_assets.candidate_qa.generate import candidates
from forge_assets.gates.factory import GATES
from forge_assets.gates.gate import Gate, judge, verdict
from forge_assets.tables import SCHEMAS
from forge_assets.verified_qa.verify import verify
from forge_resources.config import ForgeConfig, ImageFolderConfig, ModelsConfig, write_config
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.sources.package_photos import copy_photos

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

DESCRIPTION = "What the gates cost, beside the same rules in SQL."
KEY = ShardKey.numbered("bench", 0)
WIDTH, HEIGHT = 1024, 768
OBJECTS = 8
CLASSES = ("dog", "chair", "car", "person", "bottle", "cup", "bicycle", "book", "cat", "bench")
READING = "small_net"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8
MOST_PAIRS = 10_000
REPEATS = 3
SECONDS_A_GATE, SHARE_OF_WAY = 0.5, 0.05


@dataclass(frozen=True)
class Figures:
    """What one gate took, in seconds."""

    rows: int
    rules: int
    whole: float
    processor: float
    """Of `whole`, all threads together."""
    prepared: float
    """To read the shard and derive the statements that the rules are about."""
    sql: float
    """The rules as one query."""
    outcome: str


# --- the shard


def settings(folder: Path) -> ForgeConfig:
    """A configuration with one network that reads depth."""
    return ForgeConfig.model_validate(
        {
            "lake": folder / "lake",
            "sources": {KEY.source: {"path": folder}},
            "models": {"depth": [{"name": READING, "backend": "onnx"}]},
        }
    )


def photos(count: int) -> pl.DataFrame:
    """Rows of `raw_images`, ten bytes each."""
    numbers = pl.int_range(count, eager=True)
    names = numbers.cast(pl.String).str.pad_start(8, "0")
    return pl.select(
        image_id=pl.format("{}/{}", pl.lit(KEY.source), names),
        source=pl.lit(KEY.source),
        shard=pl.lit(KEY.shard),
        image=pl.struct(bytes=pl.lit(b"0123456789"), path=names),
        format=pl.lit("JPEG"),
        mode=pl.lit("RGB"),
        orientation=1,
        width=WIDTH,
        height=HEIGHT,
        byte_size=10,
        sha256=names.str.pad_start(64, "0"),
        license=pl.lit("CC0-1.0"),
        split=pl.lit("train"),
        is_labeled=False,
        labels_dropped=0,
        labels=pl.lit([], pl.List(pl.Null)),
    )


def objects(of: pl.DataFrame, draws: np.random.Generator) -> pl.DataFrame:
    """Rows of `detections`: `OBJECTS` boxes a photo, found alike in photo and mirror."""
    count = of.height * OBJECTS
    width, height = draws.uniform(60, 300, count), draws.uniform(60, 300, count)
    x1, y1 = draws.uniform(0, WIDTH - width), draws.uniform(0, HEIGHT - height)
    box = {"x1": x1, "y1": y1, "x2": x1 + width, "y2": y1 + height}
    ranks = np.tile(np.arange(OBJECTS), of.height)
    return (
        of.select("image_id", "source", "shard")
        .select(pl.all().repeat_by(OBJECTS).explode())
        .with_columns(
            object_id=pl.format("{}#d{}", "image_id", pl.Series(ranks)),
            origin=pl.lit("detector"),
            category=pl.Series(np.array(CLASSES)[draws.integers(0, len(CLASSES), count)]),
            is_crowd=False,
            score=pl.Series(draws.uniform(0.5, 1, count)),
            mirror_score=0.9,
            mirror_iou=0.95,
            detector=pl.lit("made:up"),
            **{name: pl.Series(values) for name, values in box.items()},
            **{f"mirror_{name}": pl.Series(values) for name, values in box.items()},
        )
    )


def scenes(found: pl.DataFrame, of: pl.DataFrame, draws: np.random.Generator) -> pl.DataFrame:
    """Rows of `scenes`: the objects, each at a depth of its own."""
    near = pl.Series(draws.uniform(1, 9, found.height))
    reading = pl.struct(
        reading=pl.lit(READING),
        mirrored=False,
        kind=pl.lit("relative"),
        q10=near,
        q50=near * 1.05,
        q90=near * 1.1,
        depth_model=pl.lit("made:up"),
    )
    shown = of.select(
        "image_id", "split", "license", "is_labeled", "labels_dropped",
        image_sha256="sha256", image_width="width", image_height="height",
    )  # fmt: skip
    return found.join(shown, on="image_id", how="left", maintain_order="left").with_columns(
        is_truncated=False,
        area_share=(pl.col("x2") - pl.col("x1")) * (pl.col("y2") - pl.col("y1")) / (WIDTH * HEIGHT),
        overlap=0.0,
        occlusion=0.0,
        class_conflict=0.0,
        ground_depth=near,
        mirror_ground_depth=near,
        depth=pl.concat_list(reading, reading.struct.with_fields(mirrored=True)),
    )


def depth_maps(of: pl.DataFrame) -> pl.DataFrame:
    """Rows of `depth_maps`, without pixels."""
    return of.select(
        "image_id", "source", "shard", reading=pl.lit(READING), mirrored=pl.lit([False, True]), kind=pl.lit("relative"),
        width=256, height=192, near=1.0, far=9.0, png=pl.lit(PNG), depth_model=pl.lit("made:up"),
    ).explode("mirrored")  # fmt: skip


def conformed(rows: pl.DataFrame, table: str) -> pl.DataFrame:
    """The table's columns: those that are absent are null."""
    wanted = SCHEMAS[table]
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None, dtype)).cast(dtype).alias(name)
        for name, dtype in wanted.items()
    )


def make_shard(lake: Lake, config: ForgeConfig, count: int) -> None:
    """Write all tables of one shard of so many photos; the same ones every time."""
    draws = np.random.default_rng(0)
    taken = photos(count)
    found = objects(taken, draws)
    seen = conformed(scenes(found, taken, draws), "scenes")
    asked = candidates(seen, config).head(MOST_PAIRS)
    verified, rejected = verify(asked, config.verification)
    rows = {
        "raw_images": taken,
        "rejected_images": pl.DataFrame(),
        "detections": found,
        "depth_maps": depth_maps(taken),
        "scenes": seen,
        "candidate_qa": asked,
        "verified_qa": verified,
        "rejected_qa": rejected,
    }
    for table, of_table in rows.items():
        counts = {"photos_in": count, "rejected": 0} if table == "raw_images" else {}
        empty = pl.DataFrame(schema=dict(SCHEMAS[table]))
        whole = conformed(of_table, table) if of_table.width else empty
        lake.write(table, KEY, whole, SCHEMAS[table], counts=counts)


# --- the rules in SQL


def broken(expectation: "Expectation") -> str:
    """A count in SQL that is zero where the expectation holds."""
    told: Mapping[str, Any] = expectation.configuration.kwargs
    column = f'"{told.get("column")}"'
    first, second = f'"{told.get("column_A")}"', f'"{told.get("column_B")}"'
    match expectation.configuration.type:
        case "expect_column_values_to_not_be_null":
            condition = f"{column} IS NULL"
        case "expect_column_values_to_be_null":
            condition = f"{column} IS NOT NULL"
        case "expect_column_values_to_be_unique":
            return f"count({column}) - count(DISTINCT {column})"
        case "expect_column_values_to_be_in_set":
            condition = f"{column} NOT IN ({', '.join(map(_literal, told['value_set']))})"
        case "expect_column_values_to_match_regex":
            condition = f"NOT regexp_matches({column}, {_literal('^(?:' + told['regex'] + ')')})"
        case "expect_column_values_to_be_between":
            low, high = told.get("min_value"), told.get("max_value")
            below = [] if low is None else [f"{column} {'<=' if told.get('strict_min') else '<'} {low}"]
            above = [] if high is None else [f"{column} > {high}"]
            condition = " OR ".join(below + above) or "false"
        case "expect_column_pair_values_to_be_equal":
            condition = f"{first} IS DISTINCT FROM {second}"
        case "expect_column_pair_values_a_to_be_greater_than_b":
            condition = f"{first} <= {second}"
        case unknown:
            raise NotImplementedError(f"no SQL stands here for {unknown}")
    return f"count(*) FILTER (WHERE {condition})"


def _literal(value: object) -> str:
    return str(value).upper() if isinstance(value, bool) else "'" + str(value).replace("'", "''") + "'"


def query_of(gate: Gate, config: ForgeConfig) -> str:
    """All rules about rows as one query of the table `frame`, one column a rule."""
    rules = gate.expectations(config, KEY)
    return f"SELECT {', '.join(map(broken, rules))} FROM frame"


# --- what is measured


def best(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of a few goes."""
    seconds: list[float] = []
    for _ in range(REPEATS):
        started = clock()
        work()
        seconds.append(clock() - started)
    return min(seconds)


def measured(gate: Gate, lake: Lake, config: ForgeConfig) -> Figures:
    """Let one gate judge the shard, and DuckDB by the same rules; both must find that they hold."""
    import duckdb

    report = judge(gate, lake, KEY, config)
    lake.write_verdict(gate.table, KEY, verdict(report, lake.manifest(gate.table, KEY)))

    def judge_again() -> None:
        judge(gate, lake, KEY, config)

    def prepare() -> pl.DataFrame:
        gate.facts(lake, KEY, config)
        return gate.frame(lake, KEY, config)

    query, frame = query_of(gate, config), prepare()
    with duckdb.connect() as connection:
        connection.register("frame", frame.to_arrow())
        (found,) = connection.sql(query).fetchall()
        sql = best(lambda: connection.sql(query).fetchall())
    failing = {result.rule for result in report.results if not result.success}
    rules = [str((rule.meta or {})["rule"]) for rule in gate.expectations(config, KEY)]
    assert {rule for rule, count in zip(rules, found, strict=True) if count} == failing & set(rules), (found, failing)
    return Figures(
        rows=frame.height,
        rules=len(report.results),
        whole=best(judge_again),
        processor=best(judge_again, time.process_time),
        prepared=best(prepare),
        sql=sql,
        outcome=report.outcome,
    )


def seconds_a_photo(folder: Path, count: int) -> float:
    """From photo to verified pair with the embedded networks, gates left out."""
    import dagster as dg

    from forge_assets.automation import add_partitions, plan_shards
    from forge_assets.runs import make_partitions
    from forge_resources.config import load_config
    from forge_resources.dagster_resources import ForgeResource

    pictures = folder / "photos"
    pictures.mkdir()
    write_crops(pictures, count)
    path = write_config(folder / "forge.yaml", {"photos": ImageFolderConfig(path=pictures, shard_size=count)})
    embedded = ModelsConfig.model_validate(
        {"detector": {"backend": "embedded"}, "pose": {"backend": "embedded"}, "depth": []}
    )
    path.write_text(path.read_text() + f"\nmodels: {embedded.model_dump_json(include={'detector', 'pose', 'depth'})}\n")
    with dg.DagsterInstance.ephemeral() as instance:
        keys = plan_shards(load_config(path))
        add_partitions(instance, keys)
        (outcome,) = make_partitions(ForgeResource(config_path=str(path)), instance, keys)
        assert outcome.succeeded, outcome.problems
        made = [
            entry.asset_materialization
            for entry in instance.all_logs(outcome.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
        ]
    by_table = {one.label: float(str(one.metadata["seconds"].value)) for one in made if one is not None}
    return sum(seconds for table, seconds in by_table.items() if table != "rejected_qa") / count


def write_crops(folder: Path, count: int) -> None:
    """JPEGs of `WIDTH` x `HEIGHT`, the same every time."""
    with tempfile.TemporaryDirectory() as originals:
        files = [Path(originals) / photo.name for photo in copy_photos(Path(originals))]
        pictures = [Image.open(file).convert("RGB") for file in files]
    for number in range(count):
        picture, draws = pictures[number % len(pictures)], np.random.default_rng(number)
        share = draws.uniform(0.4, 1) * min(picture.width / WIDTH, picture.height / HEIGHT)
        width, height = round(WIDTH * share), round(HEIGHT * share)
        x, y = (int(draws.integers(most + 1)) for most in (picture.width - width, picture.height - height))
        crop = picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, (x, y, x + width, y + height))
        crop.save(folder / f"{number:06d}.jpg", quality=88)


def shown(figures: Mapping[str, Figures]) -> Table:
    """One row a gate, seconds in milliseconds."""
    table = Table(
        "gate", "rows", "rules", "outcome", "ms", "processor ms", "limit ms", "ratio", "rules in SQL ms", title="Gates"
    )
    for name, one in figures.items():
        limit = one.prepared + one.sql
        table.add_row(
            name, f"{one.rows:,}", str(one.rules), one.outcome,
            *(f"{seconds * 1e3:.0f}" for seconds in (one.whole, one.processor, limit)),
            f"{limit / one.whole:.2f}", f"{one.sql * 1e3:.0f}",
        )  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=DESCRIPTION)
    parser.add_argument("--photos", type=int, default=1_250, help="of the shard that the gates judge")
    parser.add_argument("--way", type=int, default=200, help="photos that are run through all stages; 0: none")
    arguments = parser.parse_args()
    console = Console(width=120)
    started = time.perf_counter()
    import_module("great_expectations.expectations")

    imported = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        config = settings(Path(folder))
        lake = Lake(config.lake)
        make_shard(lake, config, arguments.photos)
        figures = {name: measured(gate, lake, config) for name, gate in GATES.items()}
        console.print(shown(figures))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    slowest, all_gates = max(one.whole for one in figures.values()), sum(one.whole for one in figures.values())
    summary = Table("what", "seconds", "limit", "ratio", "peak MB")
    summary.add_row("import of Great Expectations, once a process", f"{imported:.1f}", "", "", "")
    summary.add_row(
        "slowest gate", f"{slowest:.2f}", f"{SECONDS_A_GATE}", f"{slowest / SECONDS_A_GATE:.2f}", f"{peak:.0f}"
    )
    if arguments.way:
        with tempfile.TemporaryDirectory() as folder:
            way = seconds_a_photo(Path(folder), arguments.way) * arguments.photos
        summary.add_row(
            f"all gates; limit: {SHARE_OF_WAY:.0%} of {way:.0f} s, the way of {arguments.photos} photos",
            f"{all_gates:.2f}", f"{SHARE_OF_WAY * way:.2f}", f"{all_gates / way / SHARE_OF_WAY:.2f}", "",
        )  # fmt: skip
    console.print(summary)


if __name__ == "__main__":
    main()
