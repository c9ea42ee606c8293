"""What it costs to run a partition: stages that do nothing, ours beside Dagster's own, and shards of one photo.

    python tests/benchmarks/orchestration.py [--partitions 10] [--photos 10]

`floor` is Dagster alone: six assets and a blocking check of each that do nothing, one partition a run, the in-process
executor. `ours` is the same graph made by what makes the stages of this project, in a process that has imported all its
definitions. Both go through the daemon with the project's `dagster.yaml`, two runs at once, and in one process on the
same kind of instance, as `forge run` does. Seconds are from the first run's start to the last one's end, over all
partitions: the time until the daemon looks at a backfill is left out. Every verdict must be on record in the end.

The last rows are `forge run` of shards of one photo with the embedded networks: all that is not photos.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

DESCRIPTION = "What it costs to run a partition, beside Dagster alone."
STAGES = ("raw_images", "detections", "depth_maps", "scenes", "candidate_qa", "verified_qa")
SOURCE = "bench"
JOB = "nothing"
GRAPHS = ("floor", "ours")
SECONDS_TO_WAIT = 1_800
MOST_TIMES_THE_FLOOR = 1.3
HOME = "DAGSTER_HOME"
PROCESSOR = "processor_seconds"
"""Of a run's process from its start to the last stage: what it imported and did."""


@dataclass(frozen=True)
class Figures:
    """What so many partitions took."""

    partitions: int
    seconds: float
    processor_seconds: float
    """Of the processes that ran the partitions; code server and daemon are left out."""
    verdicts: int

    @property
    def each(self) -> float:
        """Seconds a partition."""
        return self.seconds / self.partitions


# --- the graphs


def in_order() -> list[tuple[str, str | None]]:
    """Each stage with the one before."""
    return list(zip(STAGES, (None, *STAGES), strict=False))


def floor() -> dg.Definitions:
    """Dagster alone."""
    partitions = dg.DynamicPartitionsDefinition(name="source_shard")

    def asset(name: str, before: str | None) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=partitions, deps=[before] if before else [])
        def nothing() -> dg.MaterializeResult[Any]:
            return dg.MaterializeResult(metadata={PROCESSOR: time.process_time()})

        return nothing

    def check(name: str) -> dg.AssetChecksDefinition:
        @dg.asset_check(asset=name, name=f"{name}_gate", blocking=True, partitions_def=partitions)
        def passed() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        return passed

    return dg.Definitions(
        assets=[asset(name, before) for name, before in in_order()],
        asset_checks=[check(name) for name in STAGES],
        jobs=[dg.define_asset_job(JOB, selection=dg.AssetSelection.assets(*STAGES))],
        executor=dg.in_process_executor,
    )


def ours() -> dg.Definitions:
    """The same, made by what makes the project's stages and gates, beside all that the project defines."""
    import forge_assets.definitions
    from forge_assets.gates.factory import check_result
    from forge_assets.partitions import SHARDS
    from forge_assets.stage import stage_asset
    from forge_resources.dagster_resources import ForgeResource
    from forge_resources.validation import GateReport

    assert forge_assets.definitions.definitions is not None

    def asset(name: str, before: str | None) -> dg.AssetsDefinition:
        def nothing(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
            assert context.partition_key
            assert forge.config_path is None
            metadata = {PROCESSOR: time.process_time()}
            return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion("nothing"))

        nothing.__name__ = name
        made = stage_asset(
            group="bench", kinds={"polars"}, code_version="1", deps=[dg.AssetKey(before)] if before else []
        )
        return made(nothing)

    def check(name: str) -> dg.AssetChecksDefinition:
        @dg.asset_check(asset=name, name=f"{name}_gate", blocking=True, partitions_def=SHARDS)
        def passed(forge: ForgeResource) -> dg.AssetCheckResult:
            assert forge.config_path is None
            return check_result(GateReport(f"{name}_gate", "passed", 0, "nothing"))

        return passed

    return dg.Definitions(
        assets=[asset(name, before) for name, before in in_order()],
        asset_checks=[check(name) for name in STAGES],
        jobs=[dg.define_asset_job(JOB, selection=dg.AssetSelection.assets(*STAGES))],
        resources={"forge": ForgeResource()},
        executor=dg.in_process_executor,
    )


# --- how they are run


@contextmanager
def instance_in(folder: Path) -> Generator[dg.DagsterInstance]:
    """An instance as the project has it, and an empty lake that the processes of runs find."""
    from forge_resources.config import ENVIRONMENT_VARIABLE
    from forge_resources.instance import open_instance

    path = folder / "forge.yaml"
    if not path.exists():
        path.write_text(yaml.safe_dump({"lake": str(folder / "lake")}))
    os.environ[ENVIRONMENT_VARIABLE] = str(path)
    with open_instance(path) as instance:
        yield instance


def keys(count: int) -> list[str]:
    """Names of partitions."""
    return [f"{SOURCE}/s{number:05d}" for number in range(count)]


def verdicts(instance: dg.DagsterInstance) -> int:
    """Verdicts on record that name their partition."""
    found: set[tuple[str, str]] = set()
    for run in instance.get_runs():
        for entry in instance.all_logs(run.run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION):
            assert entry.dagster_event is not None
            evaluation = entry.dagster_event.asset_check_evaluation_data
            assert evaluation.passed
            assert evaluation.partition
            found.add((evaluation.check_name, evaluation.partition))
    return len(found)


def processor_of_runs(instance: dg.DagsterInstance) -> float:
    """What the processes of all runs had used when they came to their last stage."""
    asked = dg.AssetRecordsFilter(asset_key=dg.AssetKey(STAGES[-1]))
    found = instance.fetch_materializations(asked, limit=10_000).records
    made = [record.asset_materialization for record in found]
    return sum(float(str(one.metadata[PROCESSOR].value)) for one in made if one is not None)


def through_the_daemon(graph: str, partitions: int) -> Figures:
    """A backfill of one partition a run that a daemon works off."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = {"relative_path": str(Path(__file__).absolute()), "attribute": graph}
        workspace = folder / "workspace.yaml"
        workspace.write_text(yaml.safe_dump({"load_from": [{"python_file": target}]}))
        with instance_in(folder) as instance:
            instance.add_dynamic_partitions("source_shard", keys(partitions))
            environment = os.environ | {HOME: str(folder / ".dagster")}
            command = [
                sys.executable,
                "-m",
                "dagster",
                "job",
                "backfill",
                "-w",
                str(workspace),
                "-j",
                JOB,
                "--noprompt",
            ]
            _quietly([*command, "--partitions", ",".join(keys(partitions))], environment, folder)
            daemon = subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)],
                env=environment,
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=(folder / "daemon.log").open("wb"),
            )
            try:
                seconds = _ended(instance, partitions, daemon)
            finally:
                daemon.terminate()
                daemon.wait()
            return Figures(partitions, seconds, processor_of_runs(instance), verdicts(instance))


def _quietly(command: list[str], environment: Mapping[str, str], folder: Path) -> None:
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr or done.stdout)


def _ended(instance: dg.DagsterInstance, partitions: int, daemon: "subprocess.Popen[bytes]") -> float:
    """Seconds from the first run's start to the last one's end."""
    waited = 0
    finished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE])
    while instance.get_runs_count(finished) < partitions:
        if daemon.poll() is not None or waited > SECONDS_TO_WAIT:
            raise RuntimeError("the daemon has ended, or does not go on")
        time.sleep(1)
        waited += 1
    records = instance.get_run_records()
    assert all(record.dagster_run.status is dg.DagsterRunStatus.SUCCESS for record in records)
    ends = [record.end_time for record in records if record.end_time is not None]
    return max(ends) - min(record.create_timestamp.timestamp() for record in records)


def in_one_process(graph: str, partitions: int) -> Figures:
    """One run after another in this process; the first partition, which imports, is left out."""
    job = {"floor": floor, "ours": ours}[graph]().resolve_job_def(JOB)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with tempfile.TemporaryDirectory() as folder, instance_in(Path(folder)) as instance:
        names = keys(partitions + 1)
        instance.add_dynamic_partitions("source_shard", names)
        assert job.execute_in_process(partition_key=names[0], instance=instance, run_config=quiet).success
        started, processor = time.perf_counter(), time.process_time()
        for name in names[1:]:
            assert job.execute_in_process(partition_key=name, instance=instance, run_config=quiet).success
        seconds, used = time.perf_counter() - started, time.process_time() - processor
        return Figures(partitions, seconds, used, verdicts(instance) - len(STAGES))


def shards_of_one_photo(partitions: int) -> Mapping[str, Figures]:
    """`forge run` of shards of one photo: all stages, then the CPU stages alone; the first partition is left out."""
    from forge_assets.automation import add_partitions, plan_shards
    from forge_assets.runs import make_partitions
    from forge_resources.config import ImageFolderConfig, load_config, write_config
    from forge_resources.dagster_resources import ForgeResource

    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_photos(folder / "photos", partitions + 1)
        path = write_config(
            folder / "forge.yaml", {SOURCE: ImageFolderConfig(path=folder / "photos", license="CC0-1.0", shard_size=1)}
        )
        networks = {"detector": {"backend": "embedded"}, "pose": {"backend": "embedded"}, "depth": []}
        path.write_text(path.read_text() + yaml.safe_dump({"models": networks}))
        with instance_in(folder) as instance:
            planned = plan_shards(load_config(path))
            add_partitions(instance, planned)
            forge = ForgeResource(config_path=str(path))
            for stages in (STAGES, STAGES[4:]):
                before = verdicts(instance)
                (first,) = make_partitions(forge, instance, planned[:1], stages)
                assert first.succeeded, first.problems
                started, processor = time.perf_counter(), time.process_time()
                for outcome in make_partitions(forge, instance, planned[1:], stages):
                    assert outcome.succeeded, outcome.problems
                seconds, used = time.perf_counter() - started, time.process_time() - processor
                ended = len(STAGES) * len(planned)
                assert verdicts(instance) == ended
                what = f"shards of one photo, {len(stages)} stages"
                figures[what] = Figures(partitions, seconds, used, ended - before or ended)
    return figures


def _write_photos(folder: Path, count: int) -> None:
    """One photo that ships inside an installed package, a little smaller each time."""
    from PIL import Image

    from forge_resources.sources.package_photos import copy_photos

    folder.mkdir()
    with tempfile.TemporaryDirectory() as originals:
        (first, *_) = copy_photos(Path(originals))
        photo = Image.open(Path(originals) / first.name).convert("RGB")
        for number in range(count):
            width = 640 - number
            photo.resize((width, round(width * photo.height / photo.width))).save(folder / f"{number:05d}.jpg")


def main() -> None:
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description=DESCRIPTION)
    parser.add_argument("--partitions", type=int, default=10)
    parser.add_argument("--photos", type=int, default=10, help="shards of one photo each; 0: none")
    parser.add_argument("--without-daemon", action="store_true")
    arguments = parser.parse_args()
    partitions: int = arguments.partitions
    figures: dict[str, Figures] = {}
    for graph in GRAPHS:
        if not arguments.without_daemon:
            figures[f"daemon, {graph}"] = through_the_daemon(graph, partitions)
        figures[f"one process, {graph}"] = in_one_process(graph, partitions)
    if arguments.photos:
        figures |= shards_of_one_photo(arguments.photos)
    table = Table(
        "what",
        "s a partition",
        "processor s",
        f"of the floor (goal {MOST_TIMES_THE_FLOOR})",
        "by processor",
        "verdicts",
        "200, minutes",
    )
    for what, one in figures.items():
        way, _, graph = what.partition(", ")
        least = figures[f"{way}, floor"] if graph in GRAPHS else None
        table.add_row(
            what,
            f"{one.each:.2f}",
            f"{one.processor_seconds / one.partitions:.2f}",
            f"{one.each / least.each:.2f}" if least else "",
            f"{one.processor_seconds / least.processor_seconds:.2f}" if least else "",
            str(one.verdicts),
            f"{one.each * 200 / 60:.1f}",
        )
    console = Console(width=120)
    console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(f"peak memory of this process {peak:.0f} MB, of the largest of its children {_children_mb():.0f} MB")


def _children_mb() -> float:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


if __name__ == "__main__":
    main()
