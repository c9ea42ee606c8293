"""Where a network's weights come from, and the proof that they are those that were meant.

Three forms: a hub id (`org/name` for a whole repository, `org/name/file.pt` for one file of it), pinned by
its commit; a path of a file or folder, pinned by SHA-256; an `s3://bucket/key` of one file, likewise.
A pickle (`.pt` and the like) needs its SHA-256 wherever it comes from: no byte of it reaches an unpickler before
its hash was compared.
"""

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from forge_resources.config import WeightsConfig
from forge_resources.errors import ForgeError

TIMEOUT_S: Final = 10.0
_DIGEST_SHOWN: Final = 12
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<file>[\w./-]+))?")
_S3_URI = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.+[^/])")
_PICKLES: Final = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
_SNAPSHOT_FILES: Final = ["*.json", "*.safetensors", "*.txt", "*.jinja"]
_CLIENTS: Final = ("httpx", "httpx2")
"""Loggers of the libraries that the hub's client asks through; which one depends on its version."""
_NOT_FOUND: Final = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})


class WeightsError(ForgeError, RuntimeError):
    """Weights that cannot be used; the message says why and what to do."""


class MissingWeightsError(WeightsError):
    """There is nothing where the weights should be."""


class WeightsHashError(WeightsError):
    """The weights are there, but they are others than those that were pinned."""


class UnpinnedWeightsError(WeightsError):
    """The configuration names weights without saying which version of them."""


class UnreachableWeightsError(WeightsError):
    """The hub or the store did not answer, and the weights are not in its cache on this machine."""


@dataclass(frozen=True, slots=True)
class ResolvedWeights:
    """Weights on the local disk, checked."""

    path: Path
    """The file, or the folder of a whole repository or export."""
    identity: str
    """Backend, name and commit or hash: `ultralytics:yolo11n.pt@sha256:c5de35f57955`."""


def sha256_of(path: Path) -> str:
    r"""SHA-256 of a file; of a folder, of one line `<hash>  <relative name>` a file, sorted by name.

    Returns:
        64 hexadecimal digits; for a folder what this says in it:
        `find -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum`.

    Raises:
        FileNotFoundError: if nothing is there.
        WeightsError: if there is a link to a folder in it.
    """
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    linked = [member for member in sorted(path.rglob("*")) if member.is_symlink() and member.is_dir()]
    if linked:
        raise WeightsError(f"{linked[0]} is a link to a folder, whose files no hash would cover: copy them there")
    names = sorted(member.relative_to(path).as_posix() for member in path.rglob("*") if member.is_file())
    lines = "".join(f"{sha256_of(path / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def cache_folder() -> Path:
    """Where weights fetched from S3 are kept: `spatialforge/weights` in XDG_CACHE_HOME, else in `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "spatialforge" / "weights"


def resolve(
    config: WeightsConfig,
    *,
    backend: str,
    allow_unpinned: bool = False,
    cache_dir: Path | None = None,
    timeout_s: float = TIMEOUT_S,
) -> ResolvedWeights:
    """Bring weights to the local disk and check them against their pin.

    A hub id is looked up in the hub's local cache first, so a pinned version needs no network twice.

    Args:
        config: names the weights and pins them.
        backend: begins the identity.
        allow_unpinned: take a hub id's newest commit, or a file without hash, though no pickle without one; what was
            taken is in the identity.
        cache_dir: for files from S3; default, `cache_folder()`.
        timeout_s: for the first answer of hub or store, in seconds; a download under way may take longer.

    Raises:
        MissingWeightsError: if nothing is there.
        WeightsHashError: if what is there has another hash.
        UnpinnedWeightsError: if `revision` or `sha256` is needed and absent, or is none.
        UnreachableWeightsError: if hub or store does not answer.
    """
    weights = _named(config)
    if weights.startswith("s3://"):
        _require_sha256(config, weights, allow_unpinned)
        path, digest = _from_s3(config.sha256, weights, cache_dir or cache_folder(), timeout_s)
        return ResolvedWeights(path, f"{backend}:{path.name}@sha256:{digest[:_DIGEST_SHOWN]}")
    if _is_hub_id(config, weights):
        return _from_hub(config, weights, backend, allow_unpinned, timeout_s)
    return _from_path(config, weights, backend, allow_unpinned)


def probe(
    config: WeightsConfig, *, backend: str, allow_unpinned: bool = False, timeout_s: float = TIMEOUT_S
) -> tuple[str, str]:
    """Whether `resolve` would find the weights, without downloading them.

    Returns:
        Their identity, as far as it is known before a download, and where they are.

    Raises:
        WeightsError: as `resolve` would, except that a file on S3 is not hashed.
    """
    weights = _named(config)
    if weights.startswith("s3://"):
        _require_sha256(config, weights, allow_unpinned)
        bucket, key = _bucket_and_key(weights)
        _ask_s3(weights, lambda: _s3_client(timeout_s).head_object(Bucket=bucket, Key=key))
        pin = f"sha256:{config.sha256[:_DIGEST_SHOWN]}" if config.sha256 else "unpinned"
        return f"{backend}:{Path(key).name}@{pin}", "on S3"
    if _is_hub_id(config, weights):
        _require_pins(config, weights, allow_unpinned)
        cached = _from_hub_cache(weights, config.revision)
        if cached is not None:
            return f"{backend}:{weights}@{_commit_of(cached)}", "in the hub's local cache"
        return f"{backend}:{weights}@{_ask_hub(weights, config.revision, timeout_s)}", "on the hub"
    return _from_path(config, weights, backend, allow_unpinned).identity, "on the local disk"


def check_sha256(path: Path, expected: str) -> str:
    """Compare a file's or folder's SHA-256 with the one that was pinned.

    Returns:
        The hash, 64 lower-case hexadecimal digits.

    Raises:
        WeightsHashError: if it is another; the message names both.
    """
    found = sha256_of(path)
    if found != expected.lower():
        raise WeightsHashError(_other_file(path, expected, found))
    return found


def _named(config: WeightsConfig) -> str:
    if not config.weights:
        raise MissingWeightsError("no weights are named: give `weights` a hub id, a path or an s3 URI")
    return config.weights


def _is_hub_id(config: WeightsConfig, weights: str) -> bool:
    if config.revision is not None:
        return True
    looks_like_path = weights.startswith((".", "/", "~")) or Path(weights).exists() or config.sha256 is not None
    return not looks_like_path and _HUB_ID.fullmatch(weights) is not None


def _is_pickle(weights: str) -> bool:
    return weights.endswith(_PICKLES)


# --- local path


def _from_path(config: WeightsConfig, weights: str, backend: str, allow_unpinned: bool) -> ResolvedWeights:
    path = Path(weights).expanduser()
    if not path.exists():
        raise MissingWeightsError(f"no weights at {path.absolute()}")
    if config.sha256 is None and (_is_pickle(weights) or not allow_unpinned):
        raise UnpinnedWeightsError(
            f"{path} needs `sha256`; if this is the file that is meant, write sha256: {sha256_of(path)}"
        )
    digest = sha256_of(path) if config.sha256 is None else check_sha256(path, config.sha256)
    return ResolvedWeights(path, f"{backend}:{path.name}@sha256:{digest[:_DIGEST_SHOWN]}")


# --- hub


def _require_pins(config: WeightsConfig, weights: str, allow_unpinned: bool) -> None:
    if not allow_unpinned and not _COMMIT.fullmatch(config.revision or ""):
        raise UnpinnedWeightsError(
            f"hub weights {weights} need `revision`, the full commit of the repository (40 hexadecimal digits), "
            f"not {config.revision!r}; for a local file or folder give `sha256`"
        )
    if config.sha256 is None and _is_pickle(weights):
        raise UnpinnedWeightsError(
            f"hub weights {weights} need `sha256` beside `revision`: such a file is a pickle, which can run code when "
            "it is read"
        )


def _split_hub_id(weights: str) -> tuple[str, str | None]:
    match = _HUB_ID.fullmatch(weights)
    if match is None:
        raise MissingWeightsError(f"{weights!r} is no hub id: expected org/name or org/name/file")
    return match["repo"], match["file"]


def _from_hub(
    config: WeightsConfig, weights: str, backend: str, allow_unpinned: bool, timeout_s: float
) -> ResolvedWeights:
    _require_pins(config, weights, allow_unpinned)
    path = _from_hub_cache(weights, config.revision)
    if path is None:
        _ask_hub(weights, config.revision, timeout_s)
        path = _download(weights, config.revision, timeout_s)
    if path.is_file():
        _check_hub_file(path, config.sha256)
    return ResolvedWeights(path, f"{backend}:{weights}@{_commit_of(path)}")


def _from_hub_cache(weights: str, revision: str | None) -> Path | None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return _fetch(weights, revision, local_files_only=True)
    except LocalEntryNotFoundError:
        return None


def _fetch(weights: str, revision: str | None, *, local_files_only: bool, timeout_s: float = TIMEOUT_S) -> Path:
    from huggingface_hub import hf_hub_download, snapshot_download

    repo, file = _split_hub_id(weights)
    if file is not None:
        return Path(
            hf_hub_download(repo, file, revision=revision, local_files_only=local_files_only, etag_timeout=timeout_s)
        )
    return Path(
        snapshot_download(
            repo,
            revision=revision,
            allow_patterns=_SNAPSHOT_FILES,
            local_files_only=local_files_only,
            etag_timeout=timeout_s,
        )
    )


def _ask_hub(weights: str, revision: str | None, timeout_s: float) -> str:
    """The commit that the hub has for a revision; one request, since the hub's client retries for 20 s and more."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage] - httpx's, of whichever httpx the hub's client uses
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo, _ = _split_hub_id(weights)
    try:
        commit = HfApi().model_info(repo, revision=revision, timeout=timeout_s).sha
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise MissingWeightsError(
            f"the hub has no {weights} at revision {revision or 'main'}, or not for this HF_TOKEN ({_reason(error)})"
        ) from None
    except (HfHubHTTPError, HTTPError, OSError) as error:
        raise UnreachableWeightsError(
            f"the hub does not answer for {weights} ({_reason(error)}), and it is not in the local cache: "
            "fetch it on a machine with network, or name a local file with its sha256"
        ) from None
    if commit is None:
        raise MissingWeightsError(f"the hub names no commit for {weights} at revision {revision or 'main'}")
    return commit


def _download(weights: str, revision: str | None, timeout_s: float) -> Path:
    from huggingface_hub.errors import (
        HTTPError,  # pyright: ignore[reportPrivateImportUsage] - as above
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
    )

    try:
        with _addresses_unlogged():
            return _fetch(weights, revision, local_files_only=False, timeout_s=timeout_s)
    except RemoteEntryNotFoundError as error:
        raise MissingWeightsError(
            f"{weights} is not in its repository at {revision or 'main'} ({_reason(error)})"
        ) from None
    except (LocalEntryNotFoundError, HTTPError, ConnectionError) as error:
        raise UnreachableWeightsError(
            f"the download of {weights} at {revision or 'main'} failed ({_reason(error)}): try again, or fetch it on a "
            "machine with network"
        ) from None


@contextmanager
def _addresses_unlogged() -> Generator[None]:
    """Keep the hub's client from logging the addresses that it is led to, which are signed."""
    levels = {name: logging.getLogger(name).level for name in _CLIENTS}
    for name in levels:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _reason(error: Exception) -> str:
    """What went wrong, without the addresses that the hub's client quotes: those that it is led to are signed."""
    from huggingface_hub.errors import HfHubHTTPError

    first = next((cause for cause in (error, error.__cause__) if isinstance(cause, HfHubHTTPError)), None)
    return type(error).__name__ if first is None else f"HTTP {first.response.status_code}"


def _commit_of(path: Path) -> str:
    """The commit in a path of the hub's cache, `…/snapshots/<commit>/…`."""
    return path.parts[path.parts.index("snapshots") + 1]


def _check_hub_file(path: Path, sha256: str | None) -> None:
    """Large files lie in the hub's cache as `blobs/<their SHA-256>`, linked to from the snapshot."""
    stored = path.resolve().name
    expected = sha256 or (stored if _SHA256.fullmatch(stored) else None)
    if expected is not None:
        check_sha256(path, expected)


# --- S3


def _require_sha256(config: WeightsConfig, weights: str, allow_unpinned: bool) -> None:
    if config.sha256 is None and (_is_pickle(weights) or not allow_unpinned):
        raise UnpinnedWeightsError(f"{weights} needs `sha256`, the SHA-256 of the file")


def _bucket_and_key(weights: str) -> tuple[str, str]:
    match = _S3_URI.fullmatch(weights)
    if match is None:
        raise MissingWeightsError(f"{weights!r} names no file: expected s3://bucket/key")
    return match["bucket"], match["key"]


def _s3_client(timeout_s: float) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(connect_timeout=timeout_s, retries={"max_attempts": 2}))


def _ask_s3(weights: str, request: Callable[[], object]) -> None:
    """Ask, and say what went wrong without what boto3 quotes: the store's own words, and an address with a password."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        request()
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "no reason"))
        if code in _NOT_FOUND:
            raise MissingWeightsError(f"no weights at {weights} ({code})") from None
        raise UnreachableWeightsError(
            f"the store refuses {weights} ({code}): check that the credentials may read it"
        ) from None
    except (BotoCoreError, ValueError) as error:
        raise UnreachableWeightsError(
            f"the store does not answer for {weights} ({type(error).__name__}): check its address and the network"
        ) from None


def _from_s3(sha256: str | None, weights: str, cache_dir: Path, timeout_s: float) -> tuple[Path, str]:
    """The file and its hash; what was fetched once lies in `<cache_dir>/<hash>/<name>`."""
    bucket, key = _bucket_and_key(weights)
    name = Path(key).name
    if sha256 is not None:
        kept = cache_dir / sha256.lower() / name
        if kept.exists():
            return kept, check_sha256(kept, sha256)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".fetching-") as folder:
        fetched = Path(folder) / name
        _ask_s3(weights, lambda: _s3_client(timeout_s).download_file(bucket, key, str(fetched)))
        digest = sha256_of(fetched)
        if sha256 is not None and digest != sha256.lower():
            raise WeightsHashError(_other_file(weights, sha256, digest))
        kept = cache_dir / digest / name
        kept.parent.mkdir(exist_ok=True)
        fetched.replace(kept)
    return kept, digest


def _other_file(weights: str | Path, expected: str, found: str) -> str:
    return f"{weights} is not what was pinned: expected SHA-256 {expected.lower()}, found {found}"
