"""The ledger: one decision per event id, written together with its outbox row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from sqlalchemy import Engine, Row, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert

from intake.tables import DecisionInputs, LedgerRow, OutboxRow

#: Channel on which a commit of new outbox rows wakes the relay.
CHANNEL = "airlane_outbox"

#: Rows fetched at a time.
_PAGE = 500

Verdict = Literal["approve", "decline", "review", "error"]


@dataclass(frozen=True)
class Decision:
    """What was decided about one event.

    Parameters
    ----------
    event_id, entity_id
        The event and whom it is about.
    decision
        `error` when the run failed for good; `reasons` then say why.
    score
        Probability of default, 0 to 1; None when it was not reached.
    reasons
        In words.
    model_version
        The model that gave the score.
    signed_up_at
        From when the seconds count: `intake.events.signed_up_at`.
    run_id
        The run that decided.
    decided_at
        None before it is recorded; then the database's time.
    event
        The event from the run's conf, so that an error can be replayed whole.
    """

    event_id: str
    entity_id: str
    decision: Verdict
    score: float | None
    reasons: list[str]
    model_version: str | None
    signed_up_at: datetime
    run_id: str
    decided_at: datetime | None = None
    event: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object that programs read."""
        seconds = None
        if self.decided_at is not None:
            seconds = round(max(0.0, (self.decided_at - self.signed_up_at).total_seconds()), 3)
        return {
            "event_id": self.event_id,
            "entity_id": self.entity_id,
            "decision": self.decision,
            "score": self.score,
            "reasons": list(self.reasons),
            "model_version": self.model_version,
            "seconds": seconds,
        }


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a decision was made from: with it, the same decision can be made again.

    Parameters
    ----------
    record
        The applicant's record as the packs read it.
    versions
        Kind -> name and SHA-256 of the version that was used.
    release, packs_sha256, scikit_learn
        Of airlane, of the sources of the packs that decide, of scikit-learn.
    """

    record: Mapping[str, Any]
    versions: Mapping[str, Mapping[str, str]]
    release: str
    packs_sha256: str
    scikit_learn: str


def record(engine: Engine, decision: Decision, inputs: Inputs | None = None) -> bool:
    """Write a decision, its outbox row and what it was made from in one transaction.

    Returns
    -------
    bool
        True when it is new. False when the event is decided already: nothing is changed then, the
        first decision stands.
    """
    values = asdict(decision)
    if values["decided_at"] is None:
        del values["decided_at"]
    with engine.begin() as connection:
        new = connection.scalar(
            insert(LedgerRow)
            .values(**values)
            .on_conflict_do_nothing(index_elements=[LedgerRow.event_id])
            .returning(LedgerRow.event_id)
        )
        if new is None:
            return False
        connection.execute(insert(OutboxRow).values(event_id=decision.event_id))
        if inputs is not None:
            made_from = {**asdict(inputs), "event_id": decision.event_id}
            connection.execute(insert(DecisionInputs).values(made_from))
        # Delivered with the commit.
        connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})
    return True


def find(engine: Engine, event_id: str) -> Decision | None:
    """Return the decision about an event, None when there is none yet."""
    with engine.connect() as connection:
        row = connection.execute(
            select(LedgerRow.__table__).where(LedgerRow.event_id == event_id)
        ).one_or_none()
    return None if row is None else from_row(row)


def inputs(engine: Engine, event_id: str) -> Inputs | None:
    """Return what the decision about an event was made from, None when that was not kept."""
    names = list(cast("Any", Inputs).__dataclass_fields__)
    columns = [DecisionInputs.__table__.c[name] for name in names]
    with engine.connect() as connection:
        row = connection.execute(
            select(*columns).where(DecisionInputs.event_id == event_id)
        ).one_or_none()
    return None if row is None else Inputs(**row._asdict())


def decided(engine: Engine, event_ids: Sequence[str]) -> set[str]:
    """Return which of these events have a decision."""
    if not event_ids:
        return set()
    with engine.connect() as connection:
        found = connection.scalars(
            select(LedgerRow.event_id).where(LedgerRow.event_id.in_(event_ids))
        )
        return set(found)


def decisions(engine: Engine, since: datetime | None = None) -> Iterator[Decision]:
    """Yield decisions, oldest first; with `since`, those made after that time."""
    after = (since or datetime.min.replace(tzinfo=UTC), "")
    # With a time alone, "after" means later than it, whatever the event id.
    exclusive = since is not None
    while True:
        query = select(LedgerRow.__table__).order_by(LedgerRow.decided_at, LedgerRow.event_id)
        if exclusive:
            query = query.where(LedgerRow.decided_at > after[0])
        else:
            query = query.where(tuple_(LedgerRow.decided_at, LedgerRow.event_id) > tuple_(*after))
        with engine.connect() as connection:
            rows = connection.execute(query.limit(_PAGE)).all()
        yield from map(from_row, rows)
        if len(rows) < _PAGE:
            return
        after, exclusive = (rows[-1].decided_at, rows[-1].event_id), False


def from_row(row: Row[Any]) -> Decision:
    """Return the decision in a row of the ledger."""
    values = row._asdict()
    return Decision(**{name: values[name] for name in cast("Any", Decision).__dataclass_fields__})
