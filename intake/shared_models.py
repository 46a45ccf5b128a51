"""The risk models of all hosts: the database `app` holds them, each host's folder is a copy.

A model is trained on one host and used on others. The record is two tables (`intake.tables`):
every version with its file, description and SHA-256, and a row for each time that one was put to
use; rows are only ever added. The copy has the form of `dags.packs.model_store`, which knows
nothing of the platform: its `adopt` is handed in here.

A host asks which version is in use at most every `AGE` seconds, not at each task: urgent steps
must not open a connection for it, and go on with the copy while the database is away.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine, RowMapping, func, insert, select, text
from sqlalchemy.exc import OperationalError

from intake.tables import ModelPromotion, ModelRow

log = logging.getLogger(__name__)

#: Seconds for which a host's answer to "which version is in use" holds.
AGE = 10.0
#: Two trainings at a time get their numbers one after the other under this advisory lock.
_NUMBER_LOCK = 7_002_002
#: Touched in the folder when the database was asked.
_ASKED = ".asked"

_NAMED = select(ModelRow.number, ModelRow.sha256)
_WHOLE = select(ModelRow.number, ModelRow.sha256, ModelRow.info, ModelRow.content)


class Adopt(Protocol):
    """Writes a version into a folder: `dags.packs.model_store.adopt`."""

    def __call__(
        self, folder: Path, name: str, content: bytes, info: Mapping[str, Any], *, in_use: bool
    ) -> Any:
        """Write it, and have it in use from now on if it is so."""


def add(engine: Engine, content: bytes, info: Mapping[str, Any], *, above: int = 0) -> str:
    """Store a version for all hosts and return its name; it is not used until it is promoted.

    Parameters
    ----------
    engine
        Of the database `app`.
    content, info
        Its file and description (`dags.packs.model_store.packed`).
    above
        The number must be higher: a folder may hold versions of before there was a record.
    """
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _NUMBER_LOCK})
        newest = connection.scalar(select(func.max(ModelRow.number))) or 0
        number = max(newest, above) + 1
        connection.execute(
            insert(ModelRow).values(
                number=number, info=dict(info), sha256=info["sha256"], content=content
            )
        )
    return _name(number)


def promote(engine: Engine, name: str) -> None:
    """Put a version to use on all hosts."""
    with engine.begin() as connection:
        connection.execute(insert(ModelPromotion).values(number=_number(name)))


def fetch(engine: Engine, folder: Path, name: str, adopt: Adopt) -> None:
    """Bring a version into the folder, unless it is there."""
    with engine.connect() as connection:
        chosen = ModelRow.number == _number(name)
        row = connection.execute(_NAMED.where(chosen)).mappings().first()
        if row is None:
            raise LookupError(
                f"expected {name} in the table models, found none: run the DAG train_risk_model"
            )
        if not _has(folder, row):
            _take(folder, connection.execute(_WHOLE.where(chosen)).mappings().one(), adopt)


def refresh(engine: Engine, folder: Path, adopt: Adopt, *, age: float = AGE) -> Path:
    """Bring the version in use into the folder, and return the folder.

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
    used = _used(folder)
    asked = folder / _ASKED
    if used is not None and _younger(asked, age):
        return folder
    try:
        _ask(engine, folder, adopt)
    except OperationalError as error:
        if used is None:
            raise
        first = str(error).partition("\n")[0]
        log.warning("The database does not say which model is in use, %s stays: %s", used, first)
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    asked.touch()
    return folder


def _ask(engine: Engine, folder: Path, adopt: Adopt) -> None:
    newest = select(ModelPromotion.number).order_by(ModelPromotion.id.desc()).limit(1)
    chosen = ModelRow.number == newest.scalar_subquery()
    with engine.connect() as connection:
        row = connection.execute(_NAMED.where(chosen)).mappings().first()
        # none: what the folder has of before there was a record stays in use
        if row is None or (_used(folder) == _name(row["number"]) and _has(folder, row)):
            return
        whole = connection.execute(_WHOLE.where(chosen)).mappings().one()
    _take(folder, whole, adopt, in_use=True)


def _take(folder: Path, row: RowMapping, adopt: Adopt, *, in_use: bool = False) -> None:
    info = {**row["info"], "sha256": row["sha256"]}
    adopt(folder, _name(row["number"]), row["content"], info, in_use=in_use)
    log.info("%s is here now%s", _name(row["number"]), ", and in use" if in_use else "")


def _has(folder: Path, row: RowMapping) -> bool:
    """Tell whether the folder has this very version, by its hash: a record may be made anew."""
    return bool(_read(folder / f"{_name(row['number'])}.json").get("sha256") == row["sha256"])


def _used(folder: Path) -> str | None:
    return _read(folder / "promoted.json").get("version")


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


def _name(number: int) -> str:
    return f"risk-{number}"


def _number(name: str) -> int:
    return int(name.removeprefix("risk-"))
