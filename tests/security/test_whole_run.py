"""Secrets that are planted where people keep them, and hostile texts in all that comes from outside: one small run of
the real pipeline, with failures, then a search in everything that it leaves behind."""

import io
import json
import logging
import sqlite3
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import dagster as dg
import polars as pl
import pytest
import yaml
from dagster._core.instance import DagsterInstance
from huggingface_hub import constants
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from forge_assets.cli import app
from forge_assets.definitions import ASSETS
from forge_resources.config import WebhookConfig, WeightsConfig, load_config
from forge_resources.dagster_resources import ForgeResource
from forge_resources.messengers import MessageNotSentError, post_webhook
from forge_resources.models import selection, weights
from forge_resources.models.weights import WeightsError
from forge_resources.s3 import S3Config, client

pytestmark = pytest.mark.slow

SECRETS = {
    "AWS_ACCESS_KEY_ID": "PLANTEDACCESSKEY0001",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-access-key-0002",
    "AWS_SESSION_TOKEN": "planted-session-token-0003",
    "HF_TOKEN": "hf_plantedtoken0004",
    "DAGSTER_PG_PASSWORD": "planted-postgres-password-0005",
    "FORGE_TEST_MODEL_KEY": "sk-planted-model-key-0006",
    "FORGE_TEST_WEBHOOK": "http://127.0.0.1:9/services/planted-webhook-path-0007",
}
"""Environment variables and what they hold."""
PASSWORD, SIGNATURE = "planted-url-password-0008", "planted-signature-0009"
"""Of addresses."""
PLANTED = (*SECRETS.values(), "planted-webhook-path-0007", PASSWORD, SIGNATURE)

SCRIPT = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(1)>"
LINK = "[x](javascript:alert(1))"
PHOTO = f"{IMAGE}/x<{SCRIPT}.jpg"
NOBODY = "127.0.0.1:9"


def packaged(package: str, path: str) -> bytes:
    """A photo that an installed package carries, found without importing the package."""
    return (Path(find_spec(package).submodule_search_locations[0]) / path).read_bytes()


@dataclass
class Outside:
    """A server that photos, a hub's files and a model's replies come from."""

    url: str = ""
    refuses_keys: bool = False
    asked: list[str] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    site = Outside()
    photo = packaged("ultralytics", "assets/zidane.jpg")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            site.keys.add(self.headers["Authorization"])
            if self.path.startswith("/photo.jpg"):
                self.answer(200, photo)
            elif self.path.startswith("/to-password"):
                self.answer(302, b"", f"http://me:{PASSWORD}@{NOBODY}/x.jpg")
            elif self.path.startswith("/to-signature"):
                self.answer(302, b"", f"ftp://{NOBODY}/x.jpg?X-Amz-Signature={SIGNATURE}")
            elif "/resolve/" in self.path:
                self.answer(302, b"", f"{site.url}/cdn?X-Amz-Signature={SIGNATURE}")
            elif self.path.startswith("/api/models/"):
                self.answer(200, json.dumps({"id": "org/net", "sha": "0" * 40, "siblings": []}).encode())
            else:
                self.answer(403, b"no")

        do_HEAD = do_GET  # noqa: N815 - named by http.server

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers["Authorization"]
            site.keys.add(key)
            if site.refuses_keys:
                self.answer(401, f"bad key {key}".encode())
                return
            prompt = body["messages"][0]["content"][1]["text"]
            said = f"The {SCRIPT} in {IMAGE}." if "marks one" in prompt else '[{"bbox_2d": [10, 10, 990, 990]}]'
            self.answer(200, json.dumps({"choices": [{"message": {"role": "assistant", "content": said}}]}).encode())

        def answer(self, status: int, body: bytes, location: str | None = None) -> None:
            self.send_response(status)
            if location is not None:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    server.server_close()


def coco(photo: str, width: int, height: int) -> bytes:
    """Human boxes of a photo of a bus and three people, and of things with hostile names."""
    names = ["bus", "person", SCRIPT, IMAGE, LINK]
    boxes = [(1, [20, 230, 780, 520]), (2, [50, 400, 190, 500]), (2, [220, 400, 120, 460]), (2, [670, 380, 140, 500])]
    boxes += [(number, [100 * number, 100, 80, 90]) for number in (3, 4, 5)]
    annotations = [
        {"id": number, "image_id": 1, "category_id": category, "bbox": box, "iscrowd": 0}
        for number, (category, box) in enumerate(boxes)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    image = {"id": 1, "file_name": photo, "width": width, "height": height}
    return json.dumps({"images": [image], "annotations": annotations, "categories": categories}).encode()


@dataclass
class Run:
    """What the run left behind."""

    folder: Path
    bucket: dict[str, bytes]
    said: dict[str, str] = field(default_factory=dict)
    """What each command and each refusal said, with the traceback where there is one."""
    logged: str = ""
    log: io.StringIO = field(default_factory=io.StringIO)


@pytest.fixture(scope="module")
def run(s3_server: str, outside: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        for name, secret in SECRETS.items():
            patch.setenv(name, secret)
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "DAGSTER_HOME"):
            patch.delenv(name, raising=False)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, "/dev/null")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setattr(constants, "ENDPOINT", outside.url)
        template = outside.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        made = Run(folder, {})
        handler = logging.StreamHandler(made.log)
        handler.addFilter(lambda record: record.name != "werkzeug")  # the S3 server's own
        logging.getLogger().addHandler(handler)
        level = logging.getLogger().level
        logging.getLogger().setLevel(logging.INFO)
        try:
            walk(made, s3_server, outside)
            made.logged = made.log.getvalue()
            yield made
        finally:
            logging.getLogger().removeHandler(handler)
            logging.getLogger().setLevel(level)


def walk(run: Run, s3_server: str, outside: Outside) -> None:
    """Make all stages of one shard, all pages and exports, and fail in many ways."""
    reached = S3Config(endpoint_url=s3_server, path_style=True, max_attempts=2)
    s3 = client(reached)
    s3.create_bucket(Bucket="planted")
    s3.put_object(Bucket="planted", Key=f"photos/{PHOTO}", Body=packaged("ultralytics", "assets/bus.jpg"))
    (run.folder / "inputs").mkdir()
    (run.folder / "inputs/coco.json").write_bytes(coco(PHOTO, 810, 1080))
    addresses = [
        f"{outside.url}/photo.jpg?X-Amz-Signature={SIGNATURE}",
        f"http://me:{PASSWORD}@{NOBODY}/x.jpg",
        f"http://{NOBODY}/gone.jpg?X-Amz-Signature={SIGNATURE}",
        f"{outside.url}/forbidden.jpg?X-Amz-Signature={SIGNATURE}",
        f"{outside.url}/to-password",
        f"{outside.url}/to-signature",
    ]
    schema = {"image_url": pl.String, "caption": pl.String, "transcripts": pl.List(pl.String)}
    table = {"image_url": addresses, "caption": [SCRIPT] * len(addresses), "transcripts": [[]] * len(addresses)}
    pl.DataFrame(table, schema=schema).write_parquet(run.folder / "inputs/train.parquet")

    served = {"backend": "openai", "base_url": f"{outside.url}/v1", "model": "org/model"}
    served |= {"api_key_env": "FORGE_TEST_MODEL_KEY", "max_attempts": 1}
    download = {"allow_private_addresses": True, "max_attempts": 1}
    settings: dict[str, Any] = {
        "lake": "s3://planted/lake",
        "s3": reached.model_dump(exclude_defaults=True),
        "sources": {
            "photos": {
                "path": "s3://planted/photos", "labels": "coco", "labels_path": "inputs/coco.json",
                "license": f"{IMAGE} {LINK}", "max_near_duplicate_distance": None,
            },
            "web": {"kind": "pixmo", "path": "inputs", "table": "cap", "download": download},
        },
        "models": {
            "detector": {"backend": "embedded"}, "pose": {"backend": "embedded"}, "depth": [],
            "describer": served, "judge": served,
        },
        "gates": {"max_rejected_images": 1.0},
        "alerts": {"webhook": {"url_env": "FORGE_TEST_WEBHOOK"}},
    }  # fmt: skip
    config = configured(run.folder, "forge.yaml", settings)
    command(run, "run", "run", "--source", "photos")
    command(run, "run web", "run", "--source", "web", "--stage", "raw_images")
    for asset in ("descriptions", "judgements"):
        materialize(run, config, asset)
    outside.refuses_keys = True
    materialize(run, config, "judgements")
    command(run, "doctor", "doctor")
    command(run, "audit", "audit", "--format", "html", "--output", str(run.folder / "report.html"))
    command(run, "gallery", "gallery", "--output", str(run.folder / "gallery"))
    command(run, "release", "release", "v1", "--all", "--allow-missing")
    command(run, "export", "export", "--format", "qwen3-vl", "--allow-missing", "--output", str(run.folder / "export"))
    command(run, "settings", "sql", "SELECT name, value FROM duckdb_settings()", "--format", "json")
    command(run, "links", "links")

    login = {"s3": {"endpoint_url": f"http://me:{PASSWORD}@{NOBODY}", "path_style": True, "max_attempts": 1}}
    configured(run.folder, "unreachable.yaml", settings | login)
    command(run, "unreachable", "run", file="unreachable.yaml")
    configured(run.folder, "no_bucket.yaml", settings | {"lake": "s3://nobody-has-this/lake"})
    command(run, "no_bucket", "run", file="no_bucket.yaml")
    configured(run.folder, "misspelt.yaml", settings | {"s3": {"endpoint_url": f"me:{PASSWORD}@host"}})
    command(run, "misspelt", "run", file="misspelt.yaml")
    refusals(run)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="planted", Prefix="lake")
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    run.bucket |= {key: s3.get_object(Bucket="planted", Key=key)["Body"].read() for key in keys}


def configured(folder: Path, name: str, settings: Mapping[str, Any]) -> Path:
    (folder / name).write_text(yaml.safe_dump(settings))
    return folder / name


def command(run: Run, name: str, *arguments: str, file: str = "forge.yaml") -> None:
    verb, *rest = arguments
    result = CliRunner().invoke(app, [verb, "--config", str(run.folder / file), *rest])
    raised = "".join(traceback.format_exception(result.exception)) if result.exception else ""
    run.said[name] = f"exit code {result.exit_code}\n{result.output}{result.stderr}{raised}"


def materialize(run: Run, config: Path, asset: str) -> None:
    with DagsterInstance.from_config(str(run.folder / ".dagster")) as instance:
        result = dg.materialize(
            ASSETS, selection=[asset], partition_key="photos/s00000", instance=instance, raise_on_error=False,
            resources={"forge": ForgeResource(config_path=str(config))},
        )  # fmt: skip
    events = "\n".join(str(event) for event in result.all_events)
    name = asset if result.success else f"{asset} refused"
    run.said[name] = events


def refusals(run: Run) -> None:
    """What weights and messages say where they cannot be had."""
    pinned = {"revision": "0" * 40, "sha256": "0" * 64}
    hub = WeightsConfig.model_validate({"weights": "org/net/net.pt", **pinned})
    webhook = WebhookConfig(url_env="FORGE_TEST_WEBHOOK", max_attempts=1)
    on_s3 = WeightsConfig.model_validate({"weights": "s3://bucket/net.pt", "sha256": "0" * 64})
    asked: dict[str, Callable[[], object]] = {
        "hub": lambda: weights.resolve(hub, backend="ultralytics"),
        "hub probe": lambda: selection.describe(load_config(run.folder / "forge.yaml")),
        "weights on S3": lambda: weights.resolve(on_s3, backend="onnx", cache_dir=run.folder / "weights", timeout_s=1),
        "webhook": lambda: post_webhook(webhook, {"text": "failed"}),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://me:{PASSWORD}@{NOBODY}")
        for name, ask in asked.items():
            try:
                run.said[name] = str(ask())
            except (WeightsError, MessageNotSentError):
                run.said[name] = traceback.format_exc()


# --- secrets


def planted_in(text: str) -> list[str]:
    forms = ((secret, quote(secret, safe="")) for secret in PLANTED)
    return sorted({secret for secret, quoted in forms if secret in text or quoted in text})


def text_of(name: str, data: bytes) -> str:
    """What a file says; of a table, its rows."""
    if name.endswith(".parquet"):
        table = pl.read_parquet(io.BytesIO(data))
        return str(table.select(pl.exclude(pl.Binary)).to_dicts())
    return data.decode(errors="replace")


def test_the_run_did_all_that_it_was_to_do(run: Run, outside: Outside) -> None:
    for name in ("run", "doctor", "audit", "gallery", "release", "export", "settings", "links"):
        assert run.said[name].startswith("exit code 0"), (name, run.said[name])
    for name in ("unreachable", "no_bucket", "misspelt"):
        assert run.said[name].startswith("exit code 1"), (name, run.said[name])
    assert "refuses the key in FORGE_TEST_MODEL_KEY" in run.said["judgements refused"]
    assert f"Bearer {SECRETS['FORGE_TEST_MODEL_KEY']}" in outside.keys
    assert f"Bearer {SECRETS['HF_TOKEN']}" in outside.keys
    tables = {key.split("/")[1] for key in run.bucket if key.endswith(".parquet")}
    assert {"raw_images", "detections", "scenes", "verified_qa", "rejected_qa", "descriptions"} <= tables
    rejected = pl.concat(
        pl.read_parquet(io.BytesIO(data))
        for key, data in run.bucket.items()
        if "/rejected_images/" in key and "source=web" in key and key.endswith(".parquet")
    )
    assert rejected.height == 5


@pytest.mark.parametrize("name", ["hub", "weights on S3", "webhook", "unreachable", "misspelt", "judgements refused"])
def test_no_exception_holds_a_secret(run: Run, name: str) -> None:
    assert not planted_in(run.said[name]), run.said[name]


def test_no_command_says_a_secret_and_no_log_keeps_one(run: Run) -> None:
    assert run.logged
    found = {name: planted_in(text) for name, text in {**run.said, "logged": run.logged}.items()}
    assert not {name: secrets for name, secrets in found.items() if secrets}


def test_no_table_of_the_lake_holds_a_secret(run: Run) -> None:
    found = {key: planted_in(text_of(key, data)) for key, data in run.bucket.items()}
    assert len(found) > 20
    assert not {key: secrets for key, secrets in found.items() if secrets}


def test_no_file_that_is_kept_or_given_away_holds_a_secret(run: Run) -> None:
    """Of all files but the inputs, and the working copies of them in `.forge`."""
    given = {"inputs", ".forge", "unreachable.yaml", "misspelt.yaml"}
    paths = [path for path in run.folder.rglob("*") if path.is_file()]
    kept = [path for path in paths if path.relative_to(run.folder).parts[0] not in given]
    found = {str(path): planted_in(text_of(path.name, path.read_bytes())) for path in kept}
    assert any(path.endswith(".db") for path in found)
    assert not {path: secrets for path, secrets in found.items() if secrets}


# --- hostile texts


class Elements(HTMLParser):
    """Start tags with their attributes, and the text of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        (self.scripts if self._in_script else self.text).append(data)


def hostile_in(html: str) -> list[str]:
    """What of a page would run, or ask for something, because a text from outside is taken for HTML."""
    page = Elements(html)
    found = [script for script in page.scripts if script.strip().startswith("alert(1)")]
    for tag, attributes in page.elements:
        handlers = [name for name in attributes if name.startswith("on")]
        targets = [str(attributes.get(name)) for name in ("href", "src", "action", "formaction")]
        if handlers or any("javascript:" in target.lower() or target == "x" for target in targets):
            found.append(f"<{tag} {attributes}>")
    return found


def test_the_search_finds_what_is_not_escaped() -> None:
    assert len(hostile_in(f"<p>{SCRIPT}{IMAGE}</p><a href='javascript:alert(1)'>x</a>")) == 3


def pages(run: Run) -> dict[str, str]:
    files = {path: path.read_text() for path in (run.folder / "report.html", run.folder / "gallery/index.html")}
    return {path.name: page for path, page in files.items()}


def test_pages_show_hostile_names_and_run_none(run: Run) -> None:
    for name, page in pages(run).items():
        assert "alert(1)" in page, f"{name} shows nothing hostile: the test is blind"
        assert not hostile_in(page), name


def test_cards_and_other_markdown_show_hostile_names_as_text(run: Run) -> None:
    cards = {key: data.decode() for key, data in run.bucket.items() if key.endswith(".md")}
    cards |= {str(path): path.read_text() for path in run.folder.rglob("*.md")}
    assert any("releases/v1" in name for name in cards)
    for name, card in cards.items():
        body = card.split("---\n", 2)[-1]
        assert not hostile_in(MarkdownIt("commonmark", {"html": True}).enable("table").render(body)), name
    assert "alert(1)" in "".join(cards.values())


def test_the_header_of_a_card_is_yaml_whatever_the_licence_says(run: Run) -> None:
    (card,) = [data.decode() for key, data in run.bucket.items() if key.endswith("releases/v1/README.md")]
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["license"] == "other"


def test_what_the_ui_shows_as_markdown_is_pictures_alone(run: Run) -> None:
    """Dagster's UI renders Markdown metadata; texts go as text, JSON or tables, which it does not render."""
    with DagsterInstance.from_config(str(run.folder / ".dagster")) as instance:
        records = [
            instance.get_latest_materialization_event(dg.AssetKey(name))
            for name in ("raw_images", "detections", "scenes", "verified_qa", "rejected_qa", "descriptions")
        ]
    shown = [
        value.md_str
        for record in records
        if record is not None and record.asset_materialization is not None
        for value in record.asset_materialization.metadata.values()
        if isinstance(value, dg.MarkdownMetadataValue)
    ]
    assert shown
    for text in shown:
        assert text.startswith(("![contact sheet](data:image/webp;base64,", "![task balance](data:image/png;base64,"))
        assert "alert" not in text


def test_the_event_log_was_searched_as_it_lies_on_disk(run: Run) -> None:
    """Event logs of SQLite keep their text as it is: a search of the file finds what stands there."""
    files = list((run.folder / ".dagster").rglob("*.db"))
    texts = 0
    for file in files:
        with sqlite3.connect(file) as database:
            names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for name in names:
                rows = database.execute(f'SELECT * FROM "{name}"').fetchall()
                texts += len(rows)
                assert not planted_in(str(rows)), (file, name)
    assert texts > 50
