"""An events server whose memory is used up: producers hear it, what was taken goes on."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from redis.exceptions import OutOfMemoryError
from sqlalchemy import Engine

from airlane import intake_commands
from deploy.local import valkey
from deploy.local.ports import free_port
from intake import keys, ledger, producer
from intake.dead_letters import letters
from intake.ledger import Decision
from intake.relay import Relay
from intake.retention import is_nearly_full
from tests.airflow_double import AirflowDouble
from tests.app_database import AppDatabase
from tests.command_line import Airlane, runner
from tests.integration.intake_lives import is_taken_in, listening
from tests.servers import PASSWORD, eventually, serving, wait_until

#: Bytes; about 1 MiB is the empty server's own.
_BOUND = 8 * 2**20
#: More bad events than the listener holds at a time.
_BAD = 100


@pytest.fixture
def bounded(tmp_path: Path) -> Iterator[str]:
    """Address of an events server with a bound, its logins' passwords are all the same."""
    port = free_port()
    passwords = dict.fromkeys(keys.EVENTS_ACL, PASSWORD)
    config = valkey.write_config(
        tmp_path / "events",
        port,
        logins=keys.EVENTS_ACL,
        passwords=passwords,
        fsync="no",
        max_memory=_BOUND,
    )
    operator = valkey.url(port, "operator", PASSWORD)
    words = [str(valkey.binary()), str(config)]
    with serving(words, tmp_path / "log", lambda: valkey.answers(operator)):
        yield operator


@pytest.fixture
def airlane(
    bounded: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Airlane:
    """Run a command line that reaches this events server."""
    monkeypatch.setattr(intake_commands, "reach", lambda: SimpleNamespace(events=bounded))
    return runner(monkeypatch, capsys)


def _of(address: str, login: str) -> str:
    return address.replace("operator", login)


def _take_in(address: str, airflow: AirflowDouble) -> None:
    """Have a new life of the listener take in all that there is."""

    async def live() -> None:
        async with listening(_of(address, "intake"), airflow):
            await eventually(lambda: is_taken_in(events), "all to be taken in", 120)

    with redis.Redis.from_url(address) as events:
        asyncio.run(live())


def _fill(address: str) -> list[str]:
    """Send sign-ups until there is no room; return the ids of those that were taken."""
    sent = []
    with redis.Redis.from_url(_of(address, "producer")) as client:
        for number in range(_BAD):
            client.xadd(keys.SIGNUPS, {"event_id": f"bad{number}", "entity_id": "1", "at": "now"})
        try:
            while True:
                sent.append(producer.signup(client, 1, payload="x" * 4_000))
        except OutOfMemoryError as error:
            assert "maxmemory" in str(error)  # noqa: PT017 - the loop ends with it
    return sent


def test_what_was_taken_goes_on_and_makes_room(
    bounded: str, airflow: AirflowDouble, app_db: AppDatabase, worker_engine: Engine
) -> None:
    with (
        redis.Redis.from_url(bounded) as events,
        redis.Redis.from_url(_of(bounded, "producer")) as producer_client,
    ):
        # the group is there, as on a stack that is up
        first = producer.signup(producer_client, 1)
        _take_in(bounded, airflow)
        sent = [first, *_fill(bounded)]
        assert len(sent) > 500
        assert is_nearly_full(events)
        # a new life of the listener, on a server that takes nothing more
        _take_in(bounded, airflow)
        assert airflow.events() == sorted(sent)
        assert len(list(letters(events))) == _BAD
        with pytest.raises(OutOfMemoryError):
            producer.signup(producer_client, 1, payload="x" * 4_000)

        for event_id in sent:
            ledger.record(worker_engine, _decision(event_id))
        _relay_until(
            app_db,
            _of(bounded, "relay"),
            lambda: _decided(events) == set(sent) and not is_nearly_full(events),
        )
        assert not events.xlen(keys.SIGNUPS), "all are done with, and leave before their age"
        late = producer.signup(producer_client, 1, payload="x" * 4_000)
        _take_in(bounded, airflow)
        assert f"signup-{late}" in airflow.runs


def test_signup_says_how_many_were_taken_before_the_server_was_full(
    bounded: str, airlane: Airlane
) -> None:
    people = [str(number) for number in range(1, 1001)]
    ended = airlane("signup", *people, "--payload", json.dumps("x" * 60_000), "--wait")
    assert (ended.code, ended.out) == (1, "")
    said = re.fullmatch(
        r"airlane: expected room for 1000 sign-ups in the stream, found the events server full "
        r"after (\d+) of them, which are not lost\..* Fix: .*max_memory.*\n",
        ended.err,
    )
    assert said, ended.err
    with redis.Redis.from_url(bounded) as events:
        entries: Any = events.xrange(keys.SIGNUPS)
    taken = [fields[b"entity_id"].decode() for _, fields in entries]
    assert taken == people[: int(said[1])]
    assert taken


def test_a_dead_letter_that_has_no_room_stays_and_can_be_sent_later(
    bounded: str, airlane: Airlane, airflow: AirflowDouble
) -> None:
    with (
        redis.Redis.from_url(bounded) as events,
        redis.Redis.from_url(_of(bounded, "relay")) as relay,
        redis.Redis.from_url(_of(bounded, "producer")) as producer_client,
    ):
        # the group is there, as on a stack that is up
        producer.signup(producer_client, 1)
        _take_in(bounded, airflow)
        _fill(bounded)
        _take_in(bounded, airflow)
        before, waiting = list(letters(events)), events.xlen(keys.SIGNUPS)
        assert len(before) == _BAD
        ended = airlane("dead", "replay", "--all")
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith(
            f"airlane: expected room for {_BAD} events in the stream, found the events server full "
            "after 0 of them, which are not lost."
        )
        assert list(letters(events)) == before
        assert events.xlen(keys.SIGNUPS) == waiting, "nothing of it was sent"

        relay.xtrim(keys.SIGNUPS, maxlen=0, approximate=False)
        ended = airlane("dead", "replay", before[0].id, "--json")
        assert (ended.code, ended.err) == (0, "")
        assert json.loads(ended.out) == {"id": before[0].id, "event_id": "bad0"}
        assert list(letters(events)) == before[1:]
        ((_, sent),) = events.xrange(keys.SIGNUPS)
        assert sent[b"event_id"] == b"bad0"


def _decision(event_id: str) -> Decision:
    signed_up = datetime(2026, 3, 1, tzinfo=UTC)
    return Decision(event_id, "1", "approve", 0.1, ["fine"], "v1", signed_up, "r")


def _decided(events: redis.Redis) -> set[str]:
    entries: Any = events.xrange(keys.DECISIONS)
    return {fields[b"event_id"].decode() for _, fields in entries}


def _relay_until(app_db: AppDatabase, events_url: str, condition: Any) -> None:
    relay = Relay(app_db.relay, events_url, timedelta(days=7), poll=0.1)
    thread = Thread(target=relay.run)
    thread.start()
    try:
        wait_until(condition, "decisions to be published, and room", 120)
    finally:
        relay.stop()
        thread.join(30)
