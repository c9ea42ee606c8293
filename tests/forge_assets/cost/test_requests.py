"""S3 requests of a partition, counted at a server: the cost page's figures are those of the code as it is."""

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest
import yaml

from forge_assets.automation import add_partitions, plan_shards
from forge_assets.cost.measured import REQUESTS
from forge_assets.runs import make_partitions
from forge_resources.config import load_config
from forge_resources.dagster_resources import ForgeResource
from forge_resources.s3 import S3Config, S3Uri

pytestmark = pytest.mark.slow

PHOTOS = ("coffee.png", "rocket.jpg")
STAGES = ("raw_images", "detections", "depth_maps", "scenes", "candidate_qa", "verified_qa")
KINDS = {"PUT": "write", "POST": "write", "LIST": "write", "DELETE": "write", "GET": "read", "HEAD": "read"}
LINE = re.compile(r'"(?:\x1b\[[\d;]*m)*([A-Z]+) (\S+)')
"""Method and address in a line of the server's log; answers other than 200 stand there in colour."""

WITHOUT_DEPTH = {"depth_maps", "scenes"}
"""No package carries a depth network: these stages have nothing to store and to read here."""


@pytest.fixture
def config_file(tmp_path: Path, s3_bucket: S3Uri, s3_config: S3Config) -> Path:
    """Two photos in one shard, the lake in a bucket."""
    (tmp_path / "photos").mkdir()
    for name in PHOTOS:
        data = Path(find_spec("skimage").submodule_search_locations[0]) / "data" / name
        (tmp_path / "photos" / name).write_bytes(data.read_bytes())
    settings = {
        "lake": f"{s3_bucket}/lake",
        "s3": json.loads(s3_config.model_dump_json()),
        "sources": {"photos": {"path": "photos", "license": "CC0"}},
        "models": {"detector": {"backend": "embedded"}, "pose": {"backend": "embedded"}, "depth": []},
    }
    (tmp_path / "forge.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path / "forge.yaml"


@pytest.fixture
def asked(caplog: pytest.LogCaptureFixture) -> Callable[[], Mapping[str, int]]:
    """How many requests of each kind the server has had since it was last asked this."""
    caplog.set_level(logging.INFO, "werkzeug")

    def count() -> Mapping[str, int]:
        found: Counter[str] = Counter()
        for record in caplog.get_records("call"):
            if record.name == "werkzeug" and (line := LINE.search(record.getMessage())):
                found[KINDS["LIST" if "list-type" in line[2] else line[1]]] += 1
        caplog.clear()
        return found

    return count


def test_a_partition_asks_as_often_as_the_cost_page_says(
    config_file: Path, asked: Callable[[], Mapping[str, int]]
) -> None:
    said = {(rate.stage, rate.kind): rate.per_shard + len(PHOTOS) * rate.per_photo for rate in REQUESTS}
    with dg.DagsterInstance.ephemeral() as instance:
        (key,) = keys = plan_shards(load_config(config_file))
        add_partitions(instance, keys)
        for stage in STAGES:
            asked()
            (made,) = make_partitions(ForgeResource(config_path=str(config_file)), instance, [key], [stage])
            assert made.succeeded, made.problems
            counted = asked()
            for kind in ("write", "read"):
                least = 0 if stage in WITHOUT_DEPTH else 0.75 * said[stage, kind]
                assert least <= counted[kind] <= 1.25 * said[stage, kind], (stage, kind, counted, said)
