"""The outbox to the stream, on real servers, killed between its steps."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from airflow_config.place import ROOT
from intake import keys, ledger, outbox, producer
from intake.dead_letters import letters
from intake.ledger import Decision
from intake.outbox import Publisher
from intake.retention import trim_decisions, trim_signups
from tests.app_database import AppDatabase
from tests.servers import wait_until

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


@pytest.fixture
def events(redis_url: str) -> Iterator[redis.Redis]:
    client = outbox.connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def publisher(relay_engine: Engine, events: redis.Redis) -> Publisher:
    return Publisher(relay_engine, events)


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
    step: str, app_db: AppDatabase, redis_url: str, worker_engine: Engine, publisher: Publisher
) -> None:
    events = outbox.connect(redis_url)
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
    running = True

    def relay() -> None:
        publisher = Publisher(relay_engine, events)
        while running:
            publisher.publish()
            publisher.heal()

    threads = [Thread(target=relay) for _ in range(3)]
    for thread in threads:
        thread.start()
    writers = [Thread(target=decide, args=(worker_engine, *wanted[start::3])) for start in range(3)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join(60)
    wait_until(lambda: len(stream(events)) >= len(wanted), "all published")
    running = False
    for thread in threads:
        thread.join(30)
    assert sorted(stream(events)) == sorted(wanted)


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


def test_an_error_is_a_dead_letter_too_with_its_event(
    worker_engine: Engine, publisher: Publisher, events: redis.Redis
) -> None:
    event = {"event_id": "x", "entity_id": "7", "at": "2026-03-01T00:00:00Z", "payload": {"a": 1}}
    decide(worker_engine, "x", decision="error", score=None, reasons=["a", "b"], event=event)
    drain(publisher)
    (letter,) = letters(events)
    assert letter.reason == "error: a; b"
    assert letter.event == event


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
        wait_until(lambda: events.time() != begin, "a moment later")
        trim_signups(relay_engine, events, keep)

    trim_signups(relay_engine, events, timedelta(0))
    events.xgroup_create(keys.SIGNUPS, keys.GROUP, id="0", mkstream=True)
    ids = [events.xadd(keys.SIGNUPS, {"event_id": f"e{number}"}) for number in range(6)]
    time.sleep(0.01)
    begin = events.time()
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


#: Where systemd listens, in the folder of the test.
NOTIFY = "notify"


class Service:
    """The relay as a process, watched by systemd."""

    def __init__(self, app_db: AppDatabase, redis_url: str, folder: Path) -> None:
        self.heartbeat = folder / "heartbeat"
        self.log = folder / "log"
        secrets = folder / "secrets"
        secrets.mkdir()
        (secrets / "app_db_url").write_text(app_db.relay + "\n")
        (secrets / "events_url").write_text(redis_url)
        self._environment = {
            "AIRLANE_SECRETS": str(secrets),
            "PYTHONPATH": str(ROOT),
            "NOTIFY_SOCKET": str(folder / NOTIFY),
            "WATCHDOG_USEC": "4000000",
        }

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "intake.relay", "--heartbeat", str(self.heartbeat), *options]
        with self.log.open("wb") as out:
            process = subprocess.Popen(
                words, cwd=ROOT, env=self._environment, stdout=out, stderr=out
            )
        wait_until(lambda: "relay: ready" in self.log.read_text(), "relay ready")
        return process


@pytest.fixture
def service(app_db: AppDatabase, redis_url: str, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    service = Service(app_db, redis_url, tmp_path)
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        started.append(service.start(*options))
        assert service.heartbeat.exists()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(20)


@pytest.mark.usefixtures("events")
def test_the_service_stops_cleanly(service: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = service()
    process.terminate()
    assert process.wait(20) == 0


def test_the_service_is_woken_by_a_commit(
    service: Callable[..., subprocess.Popen[bytes]], worker_engine: Engine, events: redis.Redis
) -> None:
    decide(worker_engine, "before")
    service("--poll", "3600")
    assert set(producer.wait(events, ["before"], 20)) == {"before"}
    for number in range(5):
        decide(worker_engine, f"e{number}")
        assert producer.wait(events, [f"e{number}"], 20)


@pytest.mark.usefixtures("events")
def test_systemd_hears_that_the_service_is_ready_and_goes_on(
    service: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / NOTIFY))
        systemd.settimeout(20)
        service()
        assert [systemd.recv(100) for _ in range(2)] == [b"READY=1\nWATCHDOG=1", b"WATCHDOG=1"]


def test_the_service_goes_on_after_a_kill_and_a_flush(
    service: Callable[..., subprocess.Popen[bytes]], worker_engine: Engine, events: redis.Redis
) -> None:
    process = service()
    decide(worker_engine, "a")
    assert producer.wait(events, ["a"], 20)
    process.kill()
    process.wait(20)
    decide(worker_engine, "b")
    service()
    assert producer.wait(events, ["b"], 20)
    events.flushall()
    assert set(producer.wait(events, ["a", "b"], 30)) == {"a", "b"}
    assert stream(events) == ["a", "b"]


def test_a_missing_setting_is_named() -> None:
    words = [sys.executable, "-m", "intake.relay"]
    result = subprocess.run(
        words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert b"AIRLANE_APP_DB_URL" in result.stderr
