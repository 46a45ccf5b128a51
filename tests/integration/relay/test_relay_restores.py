"""A stream or a database that was lost, or restored to an older state."""

from __future__ import annotations

import redis
from sqlalchemy import Engine, text

from intake import keys
from intake.outbox import Publisher
from tests.integration.relay.decisions import decide, drain, positions, stream


def test_a_stream_that_was_lost_comes_again_with_the_same_ids(
    worker_engine: Engine, publisher: Publisher, events: redis.Redis
) -> None:
    decide(worker_engine, "a", "b")
    drain(publisher)
    before = positions(events)
    events.flushall()
    # The next decision must not be published over the gap.
    decide(worker_engine, "c")
    drain(publisher)
    assert stream(events) == ["a", "b", "c"]
    assert positions(events)[:2] == before
    # And without a next decision, by looking.
    events.delete(keys.DECISIONS)
    assert publisher.heal() == 3
    drain(publisher)
    assert stream(events) == ["a", "b", "c"]
    assert publisher.heal() == 0


def test_a_stream_restored_to_an_older_state_gets_what_it_lacks(
    worker_engine: Engine, publisher: Publisher, events: redis.Redis
) -> None:
    decide(worker_engine, "a", "b")
    drain(publisher)
    backup = events.dump(keys.DECISIONS)
    decide(worker_engine, "c", "d")
    drain(publisher)
    events.restore(keys.DECISIONS, 0, backup, replace=True)
    assert stream(events) == ["a", "b"]
    publisher.heal()
    drain(publisher)
    assert stream(events) == ["a", "b", "c", "d"]


def test_a_database_restored_to_an_older_state_publishes_behind_the_stream(
    worker_engine: Engine, owner_engine: Engine, publisher: Publisher, events: redis.Redis
) -> None:
    decide(worker_engine, "a", "b", "c")
    drain(publisher)
    with owner_engine.begin() as connection:
        connection.execute(text("DELETE FROM outbox WHERE event_id <> 'a'"))
        connection.execute(text("DELETE FROM ledger WHERE event_id <> 'a'"))
    # One row is new; the other had its position before the backup was made, and not its mark.
    decide(worker_engine, "d", "e")
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE outbox SET position = 2 WHERE event_id = 'd'"))
    drain(publisher)
    assert stream(events)[:3] == ["a", "b", "c"]
    assert sorted(stream(events)[3:]) == ["d", "e"]
