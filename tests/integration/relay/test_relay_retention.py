"""What leaves the streams and the outbox by age, and what stays."""

from __future__ import annotations

import time
from datetime import timedelta

import redis
from sqlalchemy import Engine, text

from intake import keys
from intake.outbox import Publisher
from intake.retention import trim_decisions, trim_signups
from tests.integration.relay.decisions import decide, drain, stream


def test_old_decisions_leave_outbox_and_stream_together(
    worker_engine: Engine, owner_engine: Engine, relay_engine: Engine,
    publisher: Publisher, events: redis.Redis,
) -> None:  # fmt: skip
    decide(worker_engine, "a", "b", "c")
    drain(publisher)
    decide(worker_engine, "waiting")
    publisher.assign()
    with owner_engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE outbox SET published_at = published_at - interval '8 days'"
                " WHERE event_id IN ('a', 'b')"
            )
        )
    trim_decisions(relay_engine, events, timedelta(days=7))
    assert stream(events) == ["c"]
    trim_decisions(relay_engine, events, timedelta(0))
    drain(publisher)
    assert stream(events) == ["waiting"]
    # Rebuilt, it holds what the outbox holds.
    events.flushall()
    publisher.heal()
    drain(publisher)
    assert stream(events) == ["waiting"]
    decide(worker_engine, "next")
    drain(publisher)
    assert stream(events) == ["waiting", "next"]


def test_signups_leave_only_behind_what_is_acknowledged_and_decided(
    worker_engine: Engine, relay_engine: Engine, events: redis.Redis
) -> None:
    def left() -> list[str]:
        return [fields[b"event_id"].decode() for _, fields in events.xrange(keys.SIGNUPS)]

    def trim(keep: timedelta = timedelta(0)) -> None:
        trim_signups(relay_engine, events, keep)

    trim()
    events.xgroup_create(keys.SIGNUPS, keys.GROUP, id="0", mkstream=True)
    ids = [events.xadd(keys.SIGNUPS, {"event_id": f"e{number}"}) for number in range(6)]
    time.sleep(0.01)  # all of them are older than this moment
    trim()
    assert len(left()) == 6, "nothing was delivered"
    events.xreadgroup(keys.GROUP, "c", {keys.SIGNUPS: ">"}, count=5)
    decide(worker_engine, "e0", "e1", "e3", "e4", "e5")
    trim()
    assert len(left()) == 6, "nothing was acknowledged"
    events.xack(keys.SIGNUPS, keys.GROUP, *(ids[number] for number in (0, 2, 3)))
    trim(timedelta(days=1))
    assert len(left()) == 6, "too young"
    trim()
    assert left() == ["e1", "e2", "e3", "e4", "e5"], "e1 is pending"
    events.xack(keys.SIGNUPS, keys.GROUP, ids[1])
    trim()
    assert left() == ["e2", "e3", "e4", "e5"], "e2 is acknowledged, not decided"
    events.zadd(keys.BURIED, {ids[2]: 1})
    trim()
    assert left() == ["e4", "e5"], "e2 is a dead letter; e4 is pending"
    events.xack(keys.SIGNUPS, keys.GROUP, ids[4])
    trim()
    assert left() == ["e5"], "decided, but not delivered"
