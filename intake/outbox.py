"""From the outbox to the stream `decisions`: each event once, whatever is killed in between.

Three steps, each of which may be the last before a crash, and may be done again:

1. `assign` gives committed rows their positions, under a lock, each higher than all before.
   (The order of an identity column will not do: transactions commit in another order than they
   draw numbers, so a lower number may appear after a higher one was published.)
2. `send` adds them to the stream with the position as the entry's id, by one Lua script. Redis
   itself refuses an id that is not higher than the last one, so nothing is added twice.
3. `mark` notes in PostgreSQL that they are there.

Why positions as ids, and no set of published event ids in Redis: such a set is lost together with
the stream, while "the stream's last id is below the highest position that we marked" says exactly
what a rebuilt or restored server lacks. `heal` takes those marks back, and the same entries come
again under the same ids, so a reader goes on from its cursor. The script is told which position
comes before its first one and refuses to leave a gap, so a loss cannot be published over. When
PostgreSQL was restored to an older state instead, ids in the stream belong to other events: the
script says so, and these rows get new positions above the stream's last id.

Two relays at once do no harm: step 1 is serialised, steps 2 and 3 find the other's work done.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Engine, and_, func, select, update
from sqlalchemy.orm import aliased

from intake import keys, locks, scripts
from intake.ledger import Decision, from_row
from intake.locks import Lock
from intake.tables import LedgerRow, OutboxRow

logger = logging.getLogger(__name__)

#: Rows per pass: a script call blocks the events server for about 10 us for each.
_BATCH = 200


@dataclass(frozen=True)
class Publication:
    """A decision with its place in the stream."""

    position: int
    decision: Decision


class Publisher:
    """Publishes the outbox of one database to one events server.

    Parameters
    ----------
    engine
        The `app` database, with the relay's login.
    client
        The events server, from `connect`.
    """

    def __init__(self, engine: Engine, client: Redis) -> None:
        self._engine = engine
        self._client = client

    def publish(self) -> int:
        """Do one pass and return how many decisions it found to publish."""
        self.assign()
        base, due = self.due()
        if due:
            answers = self.send(base, due)
            if answers is None:
                self.heal()
            else:
                self.mark(due, answers)
        return len(due)

    def assign(self) -> None:
        """Give new rows their positions."""
        with self._engine.begin() as connection:
            if connection.scalar(_new().exists().select()):
                locks.take(connection, Lock.ASSIGN)
                highest = connection.scalar(select(func.max(OutboxRow.position))) or 0
                fresh = aliased(_new().limit(_BATCH).subquery())
                connection.execute(
                    update(OutboxRow)
                    .where(OutboxRow.id == fresh.c.id)
                    .values(position=max(highest, self.last_id()) + fresh.c.number)
                )

    def due(self) -> tuple[int, list[Publication]]:
        """Return what has a position and is not published, and the position before the first."""
        columns = (OutboxRow.position, *LedgerRow.__table__.columns)
        query = (
            select(*columns)
            .join(LedgerRow, LedgerRow.event_id == OutboxRow.event_id)
            .where(OutboxRow.published_at.is_(None), OutboxRow.position.is_not(None))
            .order_by(OutboxRow.position)
            .limit(_BATCH)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
            if not rows:
                return 0, []
            base = connection.scalar(
                select(func.max(OutboxRow.position)).where(OutboxRow.position < rows[0].position)
            )
        return base or 0, [Publication(row.position, from_row(row)) for row in rows]

    def send(self, base: int, due: Sequence[Publication]) -> list[str] | None:
        """Add decisions to the stream unless they are there.

        Returns
        -------
        list or None
            A word for each (see publish.lua); None when the stream lacks earlier ones.
        """
        words: list[str] = [str(base)]
        for item in due:
            words.append(str(item.position))
            for part in (_entry(item.decision), _letter(item.decision)):
                words += [str(len(part)), *part]
        answers = cast(
            "list[bytes]",
            self._client.eval(scripts.source("publish"), 2, keys.DECISIONS, keys.DEAD, *words),
        )
        if answers[0] == b"behind":
            logger.warning(
                "stream %s ends at %s, expected %s", keys.DECISIONS, answers[1].decode(), base
            )
            return None
        return [answer.decode() for answer in answers]

    def mark(self, due: Sequence[Publication], answers: Sequence[str]) -> None:
        """Note what is published; what found its id taken by another event gets a new position."""
        with self._engine.begin() as connection:
            for item, answer in zip(due, answers, strict=True):
                values: dict[str, Any] = {"published_at": func.clock_timestamp()}
                if answer == "other":
                    logger.warning("position %s is taken in the stream", item.position)
                    values = {"position": None}
                connection.execute(
                    update(OutboxRow)
                    .where(
                        and_(
                            OutboxRow.event_id == item.decision.event_id,
                            # Another relay may have moved it on.
                            OutboxRow.position == item.position,
                            OutboxRow.published_at.is_(None),
                        )
                    )
                    .values(**values)
                )

    def heal(self) -> int:
        """Take back the marks of what the stream does not hold (any more); return how many."""
        with self._engine.begin() as connection:
            # In this order: what is marked later was added before that, so it is no loss.
            marked = connection.scalar(
                select(func.max(OutboxRow.position)).where(OutboxRow.published_at.is_not(None))
            )
            if (marked or 0) <= self.last_id():
                return 0
            locks.take(connection, Lock.ASSIGN)
            lost = connection.execute(
                update(OutboxRow)
                .where(OutboxRow.position > self.last_id(), OutboxRow.published_at.is_not(None))
                .values(published_at=None)
            ).rowcount
        logger.warning("the stream lacks %s published decisions: adding them again", lost)
        return lost

    def last_id(self) -> int:
        """Return the highest position that the stream ever held, 0 when there is no stream."""
        try:
            info = self._client.xinfo_stream(keys.DECISIONS)
        except ResponseError as error:
            if "no such key" not in str(error):
                raise
            return 0
        return int(info["last-generated-id"].split(b"-")[0])


def connect(url: str) -> Redis:
    """Return a client whose replies have the shape that this module reads (RESP2, bytes)."""
    return Redis.from_url(url, protocol=2, decode_responses=False, socket_timeout=10)


def _new() -> Any:
    number = func.row_number().over(order_by=OutboxRow.id).label("number")
    return select(OutboxRow.id, number).where(OutboxRow.position.is_(None)).order_by(OutboxRow.id)


def _entry(decision: Decision) -> list[str]:
    body = json.dumps(decision.to_json(), ensure_ascii=False)
    return ["event_id", decision.event_id, "decision", decision.decision, "json", body]


def _letter(decision: Decision) -> list[str]:
    """Return the dead letter of an error: its event can be sent again, under another id."""
    if decision.decision != "error":
        return []
    event = decision.event or {}
    letter = {
        "reason": "error: " + "; ".join(decision.reasons),
        "source": "",
        "event.event_id": decision.event_id,
        "event.entity_id": decision.entity_id,
        # text, also of a run that a person made: Redis takes nothing else
        "event.at": str(event.get("at") or decision.signed_up_at.isoformat()),
    }
    if event.get("payload") is not None:
        letter["event.payload"] = json.dumps(event["payload"])
    return [word for pair in letter.items() for word in pair]
