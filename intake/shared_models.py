"""Each host's copy of the versions in use, of the risk model and of fraud's distributions.

What is made on one host is used on others. The record is in the database `app`
(`intake.model_registry`). The copy has the form of `dags.packs.model_store`, which knows nothing of
the platform: its functions are handed in here.

A host asks which versions are in use at most every `AGE` seconds, not at each task: urgent steps
must not open a connection for it, and go on with the copy while the database is away. That is also
how long a promotion or a rollback takes to reach running workers; nothing is restarted for it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import OperationalError

from intake import model_registry
from intake.model_registry import TABLES

log = logging.getLogger(__name__)

#: Seconds for which a host's answer to "which versions are in use" holds.
AGE = 10.0
#: Touched in the folder when the database was asked.
_ASKED = ".asked"
#: What nothing can be decided without; of other kinds there may be none in use.
_NEEDED = "risk"


class Adopt(Protocol):
    """Writes a version into a folder: `dags.packs.model_store.adopt`."""

    def __call__(
        self, folder: Path, name: str, content: bytes, info: Mapping[str, Any], *, in_use: bool
    ) -> Any:
        """Write it, and have it in use from now on if it is so."""


class Verdict(Protocol):
    """Whether a version may be put to use: `dags.packs.model_store.Promotion`."""

    @property
    def promoted(self) -> bool:
        """Whether it may."""

    @property
    def reason(self) -> str:
        """Why (not)."""


def promote_unless_worse(
    engine: Engine,
    folder: Path,
    name: str,
    adopt: Adopt,
    judge: Callable[[Path, str], Verdict],
    *,
    by: str,
) -> dict[str, Any]:
    """Put a new version to use on all hosts, unless it is worse than the one in use there.

    Parameters
    ----------
    engine, folder, adopt
        See `refresh`.
    name
        The new version.
    judge
        `dags.packs.model_store.promote`.
    by
        Who does it, for the record.

    Returns
    -------
    dict
        `promoted` and `reason`.
    """
    refresh(engine, folder, adopt, age=0)  # the one in use, to compare with
    fetch(engine, folder, name, adopt)
    verdict = judge(folder, name)
    if verdict.promoted:
        model_registry.promote(engine, name, by=by, reason=verdict.reason)
    said = "promoted" if verdict.promoted else "NOT promoted"
    log.info("%s: %s", said, verdict.reason)
    return {"promoted": verdict.promoted, "reason": verdict.reason}


def fetch(
    engine: Engine, folder: Path, name: str, adopt: Adopt, *, sha256: str | None = None
) -> None:
    """Bring a version into the folder, unless it is there.

    Parameters
    ----------
    engine, folder, adopt
        See `refresh`.
    name
        Which version.
    sha256
        What its content must be; with it, the database is asked only when the folder has not this.

    Raises
    ------
    intake.model_registry.UnknownVersionError
        When the record has none of this name, or another one.
    """
    if sha256 is not None and _hash(folder, name) == sha256:
        return
    kind, number = model_registry.split(name)
    with engine.connect() as connection:
        row = _row(connection, kind, number)
        if row is None or (sha256 is not None and row.sha256 != sha256):
            table = TABLES[kind][0].__tablename__
            found = "none" if row is None else f"another one, of SHA-256 {row.sha256}"
            raise model_registry.UnknownVersionError(
                f"expected {name} in the table {table}, found {found}. Fix: airlane model list"
            )
        if _hash(folder, name) != row.sha256:
            _take(folder, connection, name, adopt)


def refresh(engine: Engine, folder: Path, adopt: Adopt, *, age: float = AGE) -> Path:
    """Bring the versions in use into the folder, and return the folder.

    Parameters
    ----------
    engine
        Of the database `app`.
    folder
        This host's copy.
    adopt
        See `Adopt`.
    age
        Seconds for which the last answer holds.
    """
    used = _used(folder, _NEEDED)
    asked = folder / _ASKED
    if used is not None and _younger(asked, age):
        return folder
    try:
        with engine.connect() as connection:
            for kind in TABLES:
                _follow(connection, folder, kind, adopt)
    except OperationalError as error:
        if used is None:
            raise
        first = str(error).partition("\n")[0]
        log.warning("The database does not say which model is in use, %s stays: %s", used, first)
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    asked.touch()
    return folder


def _follow(connection: Connection, folder: Path, kind: str, adopt: Adopt) -> None:
    """Bring the version in use of one kind, unless it is there and in use."""
    _, promoted = TABLES[kind]
    newest = select(promoted.number).order_by(promoted.id.desc()).limit(1)
    number = connection.scalar(newest)
    # none: what the folder has of before there was a record stays in use
    if number is None:
        return
    name = f"{kind}-{number}"
    row = _row(connection, kind, number)
    if row is not None and (_used(folder, kind) != name or _hash(folder, name) != row.sha256):
        _take(folder, connection, name, adopt, in_use=True)


def _row(connection: Connection, kind: str, number: int) -> Any:
    table, _ = TABLES[kind]
    return connection.execute(select(table.sha256).where(table.number == number)).first()


def _take(
    folder: Path, connection: Connection, name: str, adopt: Adopt, *, in_use: bool = False
) -> None:
    kind, number = model_registry.split(name)
    table, _ = TABLES[kind]
    query = select(table.sha256, table.info, table.content).where(table.number == number)
    row = connection.execute(query).one()
    adopt(folder, name, row.content, {**row.info, "sha256": row.sha256}, in_use=in_use)
    log.info("%s is here now%s", name, ", and in use" if in_use else "")


def _hash(folder: Path, name: str) -> str | None:
    """Return the SHA-256 of the version that the folder has: a record may be made anew."""
    return _read(folder / f"{name}.json").get("sha256")


def _used(folder: Path, kind: str) -> str | None:
    # as `dags.packs.model_kinds` calls them
    pointer = "promoted.json" if kind == "risk" else f"promoted-{kind}.json"
    return _read(folder / pointer).get("version")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _younger(file: Path, age: float) -> bool:
    try:
        return 0 <= time.time() - file.stat().st_mtime < age
    except FileNotFoundError:
        return False
