"""Time and memory of every audit on a lake of many partitions, and on the same rows in a few big files.

    python tests/benchmarks/make_lake.py FOLDER/lake
    python tests/benchmarks/audits.py FOLDER/lake

The big files are written beside the lake, into `<lake>_files`, unless they are there. Each audit runs a few times in a
process for each layout; the best time counts, and the peak of memory is that of the process during these runs. Where
other work runs at the same time, compare by processor time, that of all threads together.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from forge_assets.audits.opening import VIEWS
from forge_assets.audits.runner import audit_names, quotas_table, run_audit
from forge_assets.tables import SCHEMAS
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.warehouse import SqlTables, Warehouse

LAYOUTS = ("lake", "files")
TABLES = ("raw_images", "candidate_qa", "rejected_qa", "verified_qa")
CATALOGUE = ("partitions", "partition_inputs", "partition_versions")
CLEAR_PEAK = "5"
"""What Linux takes in /proc/self/clear_refs to forget the peak of a process's memory."""


def big_files(lake: Path, count: int) -> Path:
    """Write the rows of each table into `count` files; the folder."""
    import duckdb

    folder = lake.with_name(f"{lake.name}_files")
    with duckdb.connect(config={"temp_directory": str(folder / "spill")}) as connection:
        for table in TABLES:
            target = folder / table
            if target.is_dir():
                continue
            staged = folder / f"{table}.part"
            staged.mkdir(parents=True)
            shards = sorted(str(file) for file in (lake / table).rglob("*.parquet"))
            size = -(-len(shards) // count)
            for number in range(count):
                part = shards[number * size : (number + 1) * size]
                if part:
                    connection.read_parquet(part, hive_partitioning=False).write_parquet(
                        str(staged / f"{number:02d}.parquet"), compression="zstd"
                    )
            staged.rename(target)
    return folder


def opened(lake: Path, layout: str) -> SqlTables:
    """The tables of one layout."""
    warehouse = Warehouse(Lake(lake), SCHEMAS, views=VIEWS)
    if layout == "lake":
        return warehouse
    with warehouse:
        frames = {name: warehouse.query(f"FROM {name}") for name in CATALOGUE}
    folder = lake.with_name(f"{lake.name}_files")
    files = {table: sorted(str(file) for file in (folder / table).glob("*.parquet")) for table in TABLES}
    return SqlTables(SCHEMAS, files=files, frames=frames, views=VIEWS)


def peak_gb() -> float:
    """The peak of this process's resident memory since it was last forgotten."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e6


def tell(figures: Mapping[str, object]) -> None:
    """Print a JSON line at once."""
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def measure(lake: Path, layout: str, names: list[str], repeats: int) -> None:
    """Print a JSON line for the opening, and one an audit."""
    quotas = ForgeConfig().quotas
    started = time.perf_counter()
    with opened(lake.absolute(), layout) as tables:
        tables.add_table("quotas", quotas_table(quotas))
        tell({"opening": time.perf_counter() - started})
        for name in names:
            seconds, processor = list[float](), list[float]()
            rows = 0
            Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
            for _ in range(repeats):
                started, used = time.perf_counter(), time.process_time()
                rows = run_audit(tables, name, quotas).height
                seconds.append(time.perf_counter() - started)
                processor.append(time.process_time() - used)
            best = {"seconds": min(seconds), "processor": min(processor)}
            tell({"audit": name, "rows": rows, "first": seconds[0], **best, "gb": peak_gb()})


def figures_of(lake: Path, layout: str, names: list[str], repeats: int) -> list[dict[str, float]]:
    """What a process of its own measures of one layout."""
    command = [sys.executable, __file__, str(lake), "--layout", layout, "--repeats", str(repeats), "--audits", *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = []
        for line in process.stdout:
            sys.stderr.write(f"{layout}: {line}")
            lines.append(json.loads(line))
    if process.returncode:
        sys.exit(process.returncode)
    return lines


def compare(lake: Path, files: int, names: list[str], repeats: int) -> None:
    """Print the figures of both layouts as a Markdown table."""
    big_files(lake, files)
    found = {layout: figures_of(lake, layout, names, repeats) for layout in LAYOUTS}
    rows = [
        {
            "audit": of_lake["audit"],
            "seconds": of_lake["seconds"],
            "first run": of_lake["first"],
            f"on {files} files": of_files["seconds"],
            "ratio": of_lake["seconds"] / of_files["seconds"],
            "processor s": of_lake["processor"],
            "processor s on files": of_files["processor"],
            "ratio of these": of_lake["processor"] / of_files["processor"],
            "peak GB": of_lake["gb"],
            "rows": of_lake["rows"],
        }
        for of_lake, of_files in zip(found["lake"][1:], found["files"][1:], strict=True)
    ]
    with pl.Config(
        tbl_formatting="MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_rows=-1,
        tbl_width_chars=-1,
        float_precision=2,
    ):
        sys.stdout.write(f"{pl.DataFrame(rows)}\n")
    sys.stdout.write(f"opening the lake: {found['lake'][0]['opening']:.1f} s; load average {os.getloadavg()[0]:.1f}\n")


def main() -> None:
    """Measure one layout, or compare both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake", type=Path, nargs="?", help="default, one that make_lake.py makes, which goes again")
    parser.add_argument("--files", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--audits", nargs="*", default=list(audit_names()))
    parser.add_argument("--layout", choices=LAYOUTS)
    arguments = parser.parse_args()
    if arguments.layout:
        measure(arguments.lake, arguments.layout, arguments.audits, arguments.repeats)
        return
    with tempfile.TemporaryDirectory() as temporary:
        lake = arguments.lake or Path(temporary) / "lake"
        if not lake.is_dir():
            subprocess.run([sys.executable, str(Path(__file__).with_name("make_lake.py")), str(lake)], check=True)
        compare(lake, arguments.files, arguments.audits, arguments.repeats)


if __name__ == "__main__":
    main()
