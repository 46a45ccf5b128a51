"""The outbox to the stream, on real servers, killed between its steps."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from threading import Event, Thread

import pytest
import redis
from sqlalchemy import Engine, text

from airflow_config.place import ROOT
from intake import keys
from intake.dead_letters import letters
from intake.outbox import Publisher
from tests.app_database import AppDatabase
from tests.integration.relay.decisions import decide, drain, stream
from tests.servers import wait_until


def test_decisions_are_published_once_and_in_order(
    worker_engine: Engine, publisher: Publisher, events: redis.Redis
) -> None:
    decide(worker_engine, "a", "b")
    drain(publisher)
    decide(worker_engine, "c")
    drain(publisher)
    drain(publisher)
    assert stream(events) == ["a", "b", "c"]
    body = json.loads(events.xrange(keys.DECISIONS)[0][1][b"json"])
    assert body["event_id"] == "a"
    assert body["score"] == 0.1


def test_a_transaction_that_commits_late_is_not_passed_over(
    worker_engine: Engine, publisher: Publisher, events: redis.Redis
) -> None:
    with worker_engine.connect() as late:
        late.execute(
            text(
                "INSERT INTO ledger (event_id, entity_id, decision, reasons, signed_up_at, run_id)"
                " VALUES ('late', '1', 'review', '[]', now(), 'r')"
            )
        )
        # Draws the lower number ...
        late.execute(text("INSERT INTO outbox (event_id) VALUES ('late')"))
        decide(worker_engine, "early")
        drain(publisher)
        # ... and commits when a higher one is published.
        late.commit()
    drain(publisher)
    assert stream(events) == ["early", "late"]


@pytest.mark.parametrize("step", ["assign", "due", "send", "mark"])
def test_a_kill_after_any_step_loses_and_doubles_nothing(
    step: str,
    app_db: AppDatabase,
    redis_url: str,
    worker_engine: Engine,
    publisher: Publisher,
    events: redis.Redis,
) -> None:
    decide(worker_engine, "a", "b")
    decide(worker_engine, "bad", decision="error", score=None, reasons=["no such applicant"])
    program = f"""
import os, signal
from intake import database, outbox
publisher = outbox.Publisher(database.engine({app_db.relay!r}), outbox.connect({redis_url!r}))
step = publisher.{step}
def last(*arguments):
    step(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
publisher.{step} = last
publisher.publish()
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    decide(worker_engine, "c")
    drain(publisher)
    assert stream(events) == ["a", "b", "bad", "c"]
    assert [letter.event["event_id"] for letter in letters(events)] == ["bad"]


def test_two_relays_at_once_publish_each_once(
    worker_engine: Engine, relay_engine: Engine, events: redis.Redis
) -> None:
    wanted = [f"e{number}" for number in range(300)]
    over = Event()

    def relay() -> None:
        publisher = Publisher(relay_engine, events)
        while not over.is_set():
            publisher.publish()
            publisher.heal()

    writers = [Thread(target=decide, args=(worker_engine, *wanted[start::3])) for start in range(3)]
    relays = [Thread(target=relay) for _ in range(3)]
    try:
        for thread in (*relays, *writers):
            thread.start()
        wait_until(lambda: len(stream(events)) >= len(wanted), "all published", 120)
    finally:
        # else pytest waits for them for ever
        over.set()
        for thread in (*writers, *relays):
            thread.join(60)
    assert sorted(stream(events)) == sorted(wanted)


def test_an_error_is_a_dead_letter_too_with_its_event(
    worker_engine: Engine, publisher: Publisher, events: redis.Redis
) -> None:
    event = {"event_id": "x", "entity_id": "7", "at": "2026-03-01T00:00:00Z", "payload": {"a": 1}}
    decide(worker_engine, "x", decision="error", score=None, reasons=["a", "b"], event=event)
    drain(publisher)
    (letter,) = letters(events)
    assert letter.reason == "error: a; b"
    assert letter.event == event
