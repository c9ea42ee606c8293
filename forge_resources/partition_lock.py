"""One run at a time makes a partition, whoever started it: the daemon's queue, the UI, or `forge run`."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Final

from forge_resources.errors import ForgeError
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

LONGEST_WAIT_S: Final = 43_200.0
"""As long as `infra/postgres/dagster.yaml` lets a run go on."""

_FOLDER: Final = ".locks"


class PartitionBusy(ForgeError, TimeoutError):
    """Another run has held a partition for too long."""


@contextmanager
def only_run_of(
    lake: Lake, key: ShardKey, *, say: Callable[[str], None], timeout_s: float = LONGEST_WAIT_S
) -> Generator[None]:
    """Keep other runs of a partition waiting until this one ends or its process dies.

    The lock is one of the operating system, on a file in the lake: whoever is killed leaves nothing locked. A lake
    on S3 has none, since a lease there needs clocks that agree and outlives its holder: two runs at once write the
    same bytes, and the later ones stay.

    Args:
        lake: holds the partition.
        key: the partition.
        say: takes a sentence where this run has to wait.
        timeout_s: how many seconds it waits.

    Raises:
        PartitionBusy: if another run holds the partition for longer.
    """
    folder = f"{_FOLDER}/{key.source}/{key.shard}"
    with ExitStack() as held:
        try:
            held.enter_context(lake.store.lock(folder, 0))
        except TimeoutError:
            say(f"another run makes {key}: waiting for its end")
            try:
                held.enter_context(lake.store.lock(folder, timeout_s))
            except TimeoutError as error:
                raise PartitionBusy(
                    f"another run has held {key} for {timeout_s:.0f} s: end it, then run this one again"
                ) from error
        yield
