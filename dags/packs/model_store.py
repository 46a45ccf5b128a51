"""Versions of the risk model in a folder, one of them promoted.

::

    risk-7.joblib     the fitted model
    risk-7.json       its description: metrics, references of the packs, SHA-256 of the .joblib
    promoted.json     names the version in use

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
import io
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: Loss in AUC that a new version may have and still be promoted: less than folds differ by chance
#: (their standard deviation is near 0.04), and newer data is worth something.
TOLERANCE = 0.005

_VERSION = re.compile(r"risk-([1-9][0-9]*)")
_POINTER = "promoted.json"


class ModelStoreError(RuntimeError):
    """A model cannot be used; the message names the file, what is wrong with it and the way out."""


class NoModelError(ModelStoreError):
    """No version is promoted yet: run the DAG train_risk_model once."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One stored version: its name, its model file and its description."""

    name: str
    path: Path
    info: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """Whether a version was promoted, and why (not)."""

    promoted: bool
    reason: str


def packed(model: object, info: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Return a model's file, and its description without a version's name.

    Parameters
    ----------
    model
        What `load` gives back.
    info
        Description that JSON can hold; needs ``info["metrics"]["auc"]``. The time (UTC) and the
        SHA-256 are added.
    """
    _auc(info, "the model to be stored")
    import joblib  # noqa: PLC0415 - 0.4 s, and most readers want the description only

    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    content = buffer.getvalue()
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
    if not _VERSION.fullmatch(name):
        raise ModelStoreError(f"expected the name of a version like 'risk-7', found {name!r}")
    folder.mkdir(parents=True, exist_ok=True)
    with _written(folder, content) as ready:
        ready.replace(folder / f"{name}.joblib")
    _sync(folder)
    _replace(folder / f"{name}.json", {**info, "version": name})
    found = read(folder, name)
    load(found)  # what cannot be loaded must not be put to use
    if in_use:
        _point(folder, name)
    return found


def versions(folder: Path) -> list[str]:
    """Return the names of all stored versions, oldest first."""
    found = [_VERSION.fullmatch(path.stem) for path in folder.glob("risk-*.json")]
    return [match.group() for match in sorted(filter(None, found), key=lambda m: int(m.group(1)))]


def newest(folder: Path) -> int:
    """Return the highest number that a version has, also of one that is being written; 0: none."""
    taken = [_VERSION.fullmatch(path.stem) for path in folder.glob("risk-*")]
    return max((int(match.group(1)) for match in taken if match), default=0)


def read(folder: Path, name: str) -> Version:
    """Return a stored version without loading its model."""
    if not _VERSION.fullmatch(name):
        raise ModelStoreError(f"expected the name of a version like 'risk-7', found {name!r}")
    path = folder / f"{name}.json"
    stat = _stat(path)
    return _read_info(path, stat.st_mtime_ns, stat.st_size)


def promoted(folder: Path) -> Version:
    """Return the version in use.

    Raises
    ------
    NoModelError
        When none was promoted yet.
    """
    pointer = folder / _POINTER
    try:
        name = json.loads(pointer.read_text(encoding="utf-8"))["version"]
    except FileNotFoundError:
        raise NoModelError(
            "no risk model is promoted yet: run the DAG train_risk_model once"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelStoreError(
            f"{pointer}: expected {{'version': 'risk-N'}}, found something else ({error}): "
            "delete it and run the DAG train_risk_model"
        ) from None
    return read(folder, str(name))


def promote(folder: Path, name: str, *, tolerance: float = TOLERANCE) -> Promotion:
    """Put a version to use unless it is worse than the one in use.

    Parameters
    ----------
    folder, name
        Which version.
    tolerance
        How much lower than the promoted one's its AUC may be.
    """
    candidate = read(folder, name)
    auc = _auc(candidate.info, name)
    try:
        current = promoted(folder)
    except NoModelError:
        reason = f"{name} (AUC {auc:.4f}) is the first"
    else:
        best = _auc(current.info, current.name)
        reason = f"{name} has AUC {auc:.4f}, {current.name} in use has {best:.4f}"
        if auc < best - tolerance:
            return Promotion(promoted=False, reason=f"{reason}: more than {tolerance} worse")
    load(candidate)  # what cannot be loaded must not be put to use
    _point(folder, name)
    return Promotion(promoted=True, reason=reason)


def _point(folder: Path, name: str) -> None:
    pointer = {"version": name, "promoted_at": datetime.now(UTC).isoformat(timespec="seconds")}
    _replace(folder / _POINTER, pointer)


def load(version: Version) -> Any:
    """Load a version's model, once in a process as long as the file stays the same.

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
    if found != sha256:
        raise ModelStoreError(
            f"{path}: expected SHA-256 {sha256}, as its description says, found {found}: the file "
            "is torn or exchanged and is not loaded; run the DAG train_risk_model"
        )
    import joblib  # noqa: PLC0415 - see packed

    return joblib.load(io.BytesIO(content))


@functools.lru_cache(maxsize=16)
def _read_info(path: Path, _mtime_ns: int, _size: int) -> Version:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        info["sha256"], info["version"], _auc(info, path.stem)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelStoreError(
            f"{path}: expected a model's description, found something else ({error}): "
            "delete the version and run the DAG train_risk_model"
        ) from None
    return Version(name=path.stem, path=path.with_suffix(".joblib"), info=info)


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError:
        raise ModelStoreError(
            f"{path}: expected a file of a stored version, found none: run the DAG train_risk_model"
        ) from None


def _auc(info: Mapping[str, Any], what: str) -> float:
    try:
        return float(info["metrics"]["auc"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{what}: expected a number at ['metrics']['auc'], found none") from None


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
