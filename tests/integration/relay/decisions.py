"""Decisions to publish, and what the stream holds of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import redis
from sqlalchemy import Engine

from intake import keys, ledger
from intake.ledger import Decision
from intake.outbox import Publisher

DECISION = Decision(
    event_id="",
    entity_id="7",
    decision="approve",
    score=0.1,
    reasons=["fine"],
    model_version="v1",
    signed_up_at=datetime(2026, 3, 1, tzinfo=UTC),
    run_id="r",
)


def decide(engine: Engine, *event_ids: str, **changes: Any) -> None:
    for event_id in event_ids:
        assert ledger.record(engine, replace(DECISION, event_id=event_id, **changes))


def stream(events: redis.Redis) -> list[str]:
    return [fields[b"event_id"].decode() for _, fields in events.xrange(keys.DECISIONS)]


def positions(events: redis.Redis) -> list[str]:
    return [entry_id.decode() for entry_id, _ in events.xrange(keys.DECISIONS)]


def drain(publisher: Publisher) -> None:
    while publisher.publish():
        pass
