"""The record of all versions in the database `app`: what there is, what is in use, and since when.

Two tables for each kind of versions (`intake.tables`): every version with its file, description
and SHA-256; and a row for each time that one was put to use or taken back, by whom and why. Rows
are only ever added. Hosts follow within seconds (`intake.shared_models`).

A rollback takes the version in use off what was in use before it, so two of them in a row go two
versions back, not there and back again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, func, insert, select

from intake import locks
from intake.locks import Lock
from intake.tables import DistributionsPromotion, DistributionsRow, ModelPromotion, ModelRow

#: Kind of versions -> table of the versions, table of their promotions.
TABLES: dict[str, tuple[Any, Any]] = {
    "risk": (ModelRow, ModelPromotion),
    "fraud": (DistributionsRow, DistributionsPromotion),
}
Action = Literal["promote", "rollback"]


class RegistryError(RuntimeError):
    """It cannot be put to use; the message says what was expected, what was found, and the fix."""


class UnknownVersionError(RegistryError):
    """There is no version of this name."""


class DamagedVersionError(RegistryError):
    """The content of the version is not what was stored."""


class NothingBeforeError(RegistryError):
    """No version was in use before the one that is."""


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """One time that a version was put to use.

    Parameters
    ----------
    at, by, reason
        When, by whom and why; empty from releases that did not note it.
    action
        `rollback` when it is the one below a version that was taken back.
    """

    at: datetime
    by: str
    reason: str
    action: Action

    def to_json(self) -> dict[str, Any]:
        """Return what `airlane model list --json` prints."""
        at = self.at.isoformat()
        return {"at": at, "by": self.by, "reason": self.reason, "action": self.action}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A version in the record, without its file.

    Parameters
    ----------
    version, kind
        Its name, `KIND-NUMBER`, and the first part of it.
    in_use
        Whether it is the one in use of its kind.
    stored_at
        When it was stored.
    info
        Its description, without what packs learnt.
    promotions
        Each time that it was put to use, oldest first.
    """

    version: str
    kind: str
    in_use: bool
    stored_at: datetime
    info: Mapping[str, Any] = field(repr=False)
    promotions: Sequence[Promotion] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what `airlane model list --json` prints."""
        return {
            "version": self.version,
            "kind": self.kind,
            "in_use": self.in_use,
            "stored_at": self.stored_at.isoformat(),
            "metrics": self.info.get("metrics", {}),
            **{name: self.info.get(name) for name in DESCRIBED},
            "promotions": [promotion.to_json() for promotion in self.promotions],
        }


#: What a description tells beside its metrics; versions of earlier releases lack some of it.
DESCRIBED = ("records", "features", "release", "data_sha256", "packs_sha256", "scikit_learn")


def split(name: str) -> tuple[str, int]:
    """Return kind and number of a version's name.

    Raises
    ------
    UnknownVersionError
        When no version can have this name.
    """
    kind, _, number = name.partition("-")
    if kind not in TABLES or not (number.isascii() and number.isdecimal()) or number[0] == "0":
        raise UnknownVersionError(
            f"expected the name of a version such as risk-7 or fraud-3, found {name!r}. "
            "Fix: airlane model list"
        )
    return kind, int(number)


def add(
    engine: Engine, content: bytes, info: Mapping[str, Any], *, kind: str = "risk", above: int = 0
) -> str:
    """Store a version for all hosts and return its name; it is not used until it is promoted.

    Parameters
    ----------
    engine
        Of the database `app`.
    content, info
        Its file and description (`dags.packs.model_store.packed`).
    kind
        Of what it is a version.
    above
        The number must be higher: a folder may hold versions of before there was a record.
    """
    table, _ = TABLES[kind]
    with engine.begin() as connection:
        locks.take(connection, Lock.REGISTRY)
        newest = connection.scalar(select(func.max(table.number))) or 0
        number = max(newest, above) + 1
        connection.execute(
            insert(table).values(
                number=number, info=dict(info), sha256=info["sha256"], content=content
            )
        )
    return f"{kind}-{number}"


def promote(engine: Engine, name: str, *, by: str, reason: str) -> bool:
    """Put a version to use on all hosts; return False when it is in use already.

    Raises
    ------
    UnknownVersionError
        When there is none of this name.
    DamagedVersionError
        When its file is not the one that was stored.
    """
    kind, number = split(name)
    with engine.begin() as connection:
        locks.take(connection, Lock.REGISTRY)
        _check(connection, kind, number)
        history = _stack(connection, kind)
        if history and history[-1] == number:
            return False
        _, promoted = TABLES[kind]
        row = {"number": number, "action": "promote", "promoted_by": by, "reason": reason}
        connection.execute(insert(promoted).values(row))
    return True


def rollback(engine: Engine, kind: str, *, by: str, reason: str) -> tuple[str, str]:
    """Put the version to use again that was promoted before; return that one's name and this one's.

    Raises
    ------
    NothingBeforeError
        When none was in use before.
    UnknownVersionError, DamagedVersionError
        When the one before is gone or damaged: another has to be promoted.
    """
    with engine.begin() as connection:
        locks.take(connection, Lock.REGISTRY)
        history = _stack(connection, kind)
        if len(history) < 2:
            found = f"only {kind}-{history[0]}" if history else "none"
            raise NothingBeforeError(
                f"expected a version of {kind} that was in use before the one that is, found "
                f"{found}. Fix: airlane model list, airlane model promote VERSION"
            )
        left, number = history[-1], history[-2]
        _check(connection, kind, number)
        _, promoted = TABLES[kind]
        row = {"number": number, "action": "rollback", "promoted_by": by, "reason": reason}
        connection.execute(insert(promoted).values(row))
    return f"{kind}-{left}", f"{kind}-{number}"


def versions(engine: Engine, kinds: Iterable[str] = TABLES) -> list[Stored]:
    """Return every version of these kinds, oldest first."""
    found = []
    with engine.connect() as connection:
        for kind in kinds:
            table, promoted = TABLES[kind]
            history: dict[int, list[Promotion]] = {}
            used = None
            for row in connection.execute(select(promoted.__table__).order_by(promoted.id)):
                used = row.number
                history.setdefault(row.number, []).append(
                    Promotion(
                        at=row.promoted_at,
                        by=row.promoted_by,
                        reason=row.reason,
                        action=row.action,
                    )
                )
            # without the references, which are long
            info = table.info.op("-")("reference").label("info")
            query = select(table.number, table.stored_at, info).order_by(table.number)
            found += [
                Stored(
                    version=f"{kind}-{number}",
                    kind=kind,
                    in_use=number == used,
                    stored_at=stored_at,
                    info=described,
                    promotions=history.get(number, []),
                )
                for number, stored_at, described in connection.execute(query)
            ]
    return found


def _check(connection: Connection, kind: str, number: int) -> None:
    """Compare a version's content with its SHA-256, in the database: nothing of it is loaded."""
    table, _ = TABLES[kind]
    hashed = func.encode(func.sha256(table.content), "hex")
    row = connection.execute(
        select(table.sha256, hashed, table.info["sha256"].astext).where(table.number == number)
    ).first()
    if row is None:
        known = connection.scalars(select(table.number).order_by(table.number.desc()).limit(5))
        names = ", ".join(f"{kind}-{one}" for one in reversed(known.all())) or "none"
        raise UnknownVersionError(
            f"expected a version in the table {table.__tablename__}, found no {kind}-{number}; the "
            f"newest are: {names}. Fix: airlane model list"
        )
    stored, found, described = row
    if found != stored or described != stored:
        raise DamagedVersionError(
            f"{kind}-{number} in the table {table.__tablename__}: expected content of SHA-256 "
            f"{stored}, found {found} ({described} in its description): it is damaged or exchanged "
            "and is not put to use. Fix: promote another version, or make a new one"
        )


def _stack(connection: Connection, kind: str) -> list[int]:
    """Return the versions that were put to use one upon the other; the last one is in use."""
    _, promoted = TABLES[kind]
    found: list[int] = []
    rows = connection.execute(select(promoted.number, promoted.action).order_by(promoted.id))
    for number, action in rows:
        if action == "rollback":
            found.pop()
        elif not found or found[-1] != number:
            found.append(number)
    return found
