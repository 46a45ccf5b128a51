"""The applicants, from a CSV file: row n (from 1, without the header) is entity n."""

from __future__ import annotations

import csv
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert

from intake.tables import Applicant

#: Column of the label. Only `labelled` gives it away.
LABEL = "creditability"

Record = dict[str, str | int]


class UnknownApplicantError(LookupError):
    """There is no applicant of this entity id."""


def load_csv(engine: Engine, path: Path) -> int:
    """Put the file's applicants into the table, as often as you like; return how many there are."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if LABEL not in (reader.fieldnames or ()):
            raise ValueError(
                f"{path}:1: expected a column {LABEL}, found {', '.join(reader.fieldnames or ())}"
            )
        rows = [_row(number, raw) for number, raw in enumerate(reader, start=1)]
    statement = insert(Applicant)
    with engine.begin() as connection:
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[Applicant.entity_id],
                set_={
                    "record": statement.excluded.record,
                    "creditability": statement.excluded.creditability,
                },
            ),
            rows,
        )
    return len(rows)


def get(engine: Engine, entity_id: int) -> Record:
    """Return an applicant's record, without the label.

    Raises
    ------
    UnknownApplicantError
        When there is none.
    """
    with engine.connect() as connection:
        record = connection.scalar(select(Applicant.record).where(Applicant.entity_id == entity_id))
    if record is None:
        raise UnknownApplicantError(f"expected a known applicant, found entity_id {entity_id}")
    return dict(record)


def ids(engine: Engine) -> list[int]:
    """Return all entity ids, ascending."""
    with engine.connect() as connection:
        return list(connection.scalars(select(Applicant.entity_id).order_by(Applicant.entity_id)))


def labelled(engine: Engine) -> list[tuple[int, Record, str]]:
    """Return all applicants with their label, for training."""
    query = select(Applicant.entity_id, Applicant.record, Applicant.creditability)
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(Applicant.entity_id))
        return [(entity_id, record, label) for entity_id, record, label in rows]


def _row(number: int, raw: dict[str, str]) -> dict[str, object]:
    record = {
        name: int(value) if value.isdecimal() else value
        for name, value in raw.items()
        if name != LABEL
    }
    return {"entity_id": number, "record": record, "creditability": raw[LABEL]}
