"""Versions of the risk model and of fraud's distributions in a folder, one of each promoted.

::

    risk-7.joblib               the fitted model
    risk-7.json                 its description: metrics, references of the packs, SHA-256
    promoted.json               names the version in use
    fraud-3.distributions.json  what `fraud.compare` compares with
    fraud-3.json                its description: metrics, SHA-256
    promoted-fraud.json         names the version in use

Each file is written under another name, flushed to disk and then given its own name in one step;
the description comes last. So a version exists when its description does, whatever crashed
before, and readers see the old pointer or the new one, never half of one.

A .joblib is a pickle: loading it runs code. It is loaded only when its SHA-256 is the one that
the description records. This finds torn, mixed up or exchanged files; whoever may write both
files can still run code, so only those who train may have the right to write here.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dags.packs import model_kinds
from dags.packs.model_kinds import RISK, Kind


class ModelStoreError(RuntimeError):
    """A model cannot be used; the message names the file, what is wrong with it and the way out."""


class NoModelError(ModelStoreError):
    """No version is promoted yet: run the DAG that makes them once."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One stored version: its name, its model file and its description."""

    name: str
    path: Path
    info: Mapping[str, Any]
    kind: Kind = RISK


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """Whether a version was promoted, and why (not)."""

    promoted: bool
    reason: str


def packed(
    model: object, info: Mapping[str, Any], kind: Kind = RISK
) -> tuple[bytes, dict[str, Any]]:
    """Return a version's file, and its description without a name.

    Parameters
    ----------
    model
        What `load` gives back.
    info
        Description that JSON can hold; needs the metric by which the kind is judged. The time
        (UTC) and the SHA-256 are added.
    kind
        Of what it is a version.
    """
    kind.judged_by(info, f"the {kind.words} to be stored")
    content = kind.dump(model)
    return content, {
        **info,
        "stored_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def adopt(
    folder: Path, name: str, content: bytes, info: Mapping[str, Any], *, in_use: bool = False
) -> Version:
    """Take a version that was stored elsewhere under its name there.

    Parameters
    ----------
    folder
        Folder of the versions; made when it is missing.
    name
        As it is called there; what this folder has by that name gives way.
    content, info
        Its model file and description, as `packed` made them.
    in_use
        Whether it is the one in use there, and so is here from now on.
    """
    kind, _ = _named(name)
    folder.mkdir(parents=True, exist_ok=True)
    with _written(folder, content) as ready:
        ready.replace(folder / f"{name}{kind.suffix}")
    _sync(folder)
    _replace(folder / f"{name}.json", {**info, "version": name})
    found = read(folder, name)
    load(found)  # what cannot be loaded must not be put to use
    if in_use:
        _point(folder, name)
    return found


def versions(folder: Path, kind: Kind = RISK) -> list[str]:
    """Return the names of all stored versions of a kind, oldest first."""
    found = {path.stem for path in folder.glob(f"{kind.name}-*.json")}
    return [f"{kind.name}-{number}" for number in sorted(_numbers(found))]


def newest(folder: Path, kind: Kind = RISK) -> int:
    """Return the highest number that a version has, also of one that is being written; 0: none."""
    found = {path.name.partition(".")[0] for path in folder.glob(f"{kind.name}-*")}
    return max(_numbers(found), default=0)


def _numbers(names: Iterable[str]) -> Iterator[int]:
    for name in names:
        with contextlib.suppress(ValueError):
            yield model_kinds.named(name)[1]


def read(folder: Path, name: str) -> Version:
    """Return a stored version without loading its file."""
    _named(name)
    path = folder / f"{name}.json"
    stat = _stat(path)
    return _read_info(path, stat.st_mtime_ns, stat.st_size)


def _named(name: str) -> tuple[Kind, int]:
    try:
        return model_kinds.named(name)
    except ValueError as error:
        raise ModelStoreError(str(error)) from None


def promoted(folder: Path, kind: Kind = RISK) -> Version:
    """Return the version in use.

    Raises
    ------
    NoModelError
        When none was promoted yet.
    """
    pointer = folder / kind.pointer
    try:
        name = json.loads(pointer.read_text(encoding="utf-8"))["version"]
    except FileNotFoundError:
        raise NoModelError(
            f"no {kind.words} is promoted yet: run the DAG {kind.made_by} once"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelStoreError(
            f"{pointer}: expected {{'version': '{kind.name}-N'}}, found something else ({error}): "
            f"delete it and run the DAG {kind.made_by}"
        ) from None
    return read(folder, str(name))


def promote(folder: Path, name: str) -> Promotion:
    """Put a version to use unless it is worse than the one in use, by more than its kind allows."""
    candidate = read(folder, name)
    kind = candidate.kind
    found = kind.judged_by(candidate.info, name)
    try:
        current = promoted(folder, kind)
    except NoModelError:
        reason = f"{name} ({kind.metric_words} {found:.4f}) is the first"
    else:
        best = kind.judged_by(current.info, current.name)
        reason = f"{name} has {kind.metric_words} {found:.4f}, {current.name} in use has {best:.4f}"
        if kind.is_worse(found, best):
            return Promotion(promoted=False, reason=f"{reason}: more than {kind.tolerance} worse")
    load(candidate)  # what cannot be loaded must not be put to use
    _point(folder, name)
    return Promotion(promoted=True, reason=reason)


def _point(folder: Path, name: str) -> None:
    kind, _ = _named(name)
    pointer = {"version": name, "promoted_at": datetime.now(UTC).isoformat(timespec="seconds")}
    _replace(folder / kind.pointer, pointer)


def load(version: Version) -> Any:
    """Load a version's file, once in a process as long as it stays the same.

    Raises
    ------
    ModelStoreError
        When the file is missing or is not the one that was stored.
    """
    stat = _stat(version.path)
    return _load(version.path, stat.st_mtime_ns, stat.st_size, version.info["sha256"])


@functools.lru_cache(maxsize=4)
def _load(path: Path, _mtime_ns: int, _size: int, sha256: str) -> Any:
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    kind, _ = _named(path.name.partition(".")[0])
    if found != sha256:
        raise ModelStoreError(
            f"{path}: expected SHA-256 {sha256}, as its description says, found {found}: the file "
            f"is torn or exchanged and is not loaded; run the DAG {kind.made_by}"
        )
    try:
        return kind.load(content)
    except Exception as error:  # a pickle of other libraries may raise anything
        raise ModelStoreError(
            f"{path}: expected a {kind.words} that this release can load, found "
            f"{type(error).__name__}: {error}; run the DAG {kind.made_by}"
        ) from error


@functools.lru_cache(maxsize=16)
def _read_info(path: Path, _mtime_ns: int, _size: int) -> Version:
    kind, _ = _named(path.stem)
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        info["sha256"], info["version"], kind.judged_by(info, path.stem)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelStoreError(
            f"{path}: expected the description of a {kind.words}, found something else ({error}): "
            f"delete the version and run the DAG {kind.made_by}"
        ) from None
    return Version(name=path.stem, path=path.with_suffix(kind.suffix), info=info, kind=kind)


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError:
        kind, _ = _named(path.name.partition(".")[0])
        raise ModelStoreError(
            f"{path}: expected a file of a stored version, found none: run the DAG {kind.made_by}"
        ) from None


@contextlib.contextmanager
def _written(folder: Path, content: bytes) -> Any:
    """Give a finished, flushed file under a passing name, which is gone afterwards."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=".writing-")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.chmod(0o644)  # mkstemp's 0600 would keep the workers' login from reading
        yield path
    finally:
        path.unlink(missing_ok=True)


def _replace(path: Path, document: Mapping[str, Any]) -> None:
    content = json.dumps(document, indent=1, sort_keys=True, allow_nan=False).encode()
    with _written(path.parent, content) as ready:
        ready.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Flush the folder itself: a rename survives a power cut only then."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
