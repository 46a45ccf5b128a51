"""Dead letters, the producer's helper and the users' rules on a real Valkey."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError
from sqlalchemy import Engine

from airflow_config.place import ROOT
from intake import dead_letters, keys, ledger, outbox, producer, retention
from intake.events import parse, received_at
from intake.ledger import Decision
from intake.streams import SignupReader, connect
from tests.airflow_double import AirflowDouble
from tests.servers import wait_until

DECISION = Decision("e", "7", "approve", 0.1, ["fine"], "v1", datetime(2026, 3, 1, tzinfo=UTC), "r")
#: A protocol and reply shapes that a caller's client may have.
CLIENTS: list[dict[str, Any]] = [
    {},
    {"protocol": 2},
    {"protocol": 3},
    {"protocol": 3, "decode_responses": True},
    {"protocol": 3, "legacy_responses": False},
    {"protocol": 2, "decode_responses": True},
]


@pytest.fixture(params=CLIENTS, ids=str)
def client(redis_url: str, request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, **request.param) as client:
        yield client


@pytest.fixture
def users(redis_url: str) -> Iterator[Callable[[str], str]]:
    """Address of the server for one of our users, whose rules it has."""
    with redis.Redis.from_url(redis_url) as admin:
        for user, rules in keys.EVENTS_ACL.items():
            admin.execute_command("ACL SETUSER", user, *rules, f">{user}-pw")
        yield lambda user: redis_url.replace("//", f"//{user}:{user}-pw@")
        for user in keys.EVENTS_ACL:
            admin.execute_command("ACL DELUSER", user)


def publish(client: redis.Redis, *event_ids: str) -> None:
    for event_id in event_ids:
        body = json.dumps(replace(DECISION, event_id=event_id).to_json())
        client.xadd(keys.DECISIONS, {"event_id": event_id, "decision": "approve", "json": body})


def bury(client: redis.Redis, reason: str, **fields: str) -> str:
    words = {f"event.{name}": value for name, value in fields.items()}
    letter = client.xadd(keys.DEAD, {"reason": reason, "source": "", **words})
    return letter.decode() if isinstance(letter, bytes) else str(letter)


def signups(client: redis.Redis) -> list[dict[str, str]]:
    text: Callable[[Any], str] = lambda it: it.decode() if isinstance(it, bytes) else it  # noqa: E731
    entries: Any = client.xrange(keys.SIGNUPS)
    return [{text(name): text(value) for name, value in fields.items()} for _, fields in entries]


def test_a_sign_up_has_the_contracts_fields(client: redis.Redis) -> None:
    event_id = producer.signup(client, 7)
    at = datetime(2026, 3, 1, tzinfo=UTC)
    assert producer.signup(client, "8", "mine", {"a": 1}, at) == "mine"
    first, second = signups(client)
    assert first["event_id"] == event_id
    assert first["entity_id"] == "7"
    assert second == {
        "event_id": "mine",
        "entity_id": "8",
        "at": "2026-03-01T00:00:00.000+00:00",
        "payload": '{"a": 1}',
    }


def test_decisions_are_followed_as_they_come(client: redis.Redis) -> None:
    assert producer.tail(client) == "0-0"
    publish(client, "old")
    after = producer.tail(client)

    def publish_later() -> None:
        blocked = lambda: client.info("clients")["blocked_clients"] > 0  # noqa: E731 - a condition
        wait_until(blocked, "somebody to wait")
        publish(client, "a", "b", "c")

    later = Thread(target=publish_later)
    later.start()
    begin = time.monotonic()
    found = producer.wait(client, ["a", "c"], 200, after)
    assert time.monotonic() - begin < 100, "it wakes as they come"
    later.join()
    assert sorted(found) == ["a", "c"]
    assert found["a"]["decision"] == "approve"
    assert producer.wait(client, ["old"], 60, after="0-0").keys() == {"old"}
    assert producer.wait(client, ["old", "none"], 0.1, after) == {}
    assert producer.wait(client, ["old"], 0).keys() == {"old"}


def test_the_commands_in_the_documentation_work(users: Callable[[str], str]) -> None:
    text = (ROOT / "docs" / "producer.md").read_text()
    blocks = re.findall(r"```console\n(.+?)\n```", text, re.DOTALL)
    commands = re.findall(
        r'^\$ redis-cli -u "\$AIRLANE_PRODUCER_URL" (.+)$', "\n".join(blocks), re.MULTILINE
    )
    assert len(commands) == len(blocks) == 2
    with redis.Redis.from_url(users("producer"), protocol=2) as client:
        words = shlex.split(commands[0])
        entry: Any = client.execute_command(*words)
        fields = [word.encode() for word in words[3:]]
        event = parse(
            dict(zip(fields[::2], fields[1::2], strict=True)), received_at(entry, datetime.now(UTC))
        )
        assert event.payload == {"channel": "web"}
    with redis.Redis.from_url(users("operator")) as operator:
        publish(operator, "a")
    with redis.Redis.from_url(users("producer"), protocol=2) as client:
        assert client.execute_command(*shlex.split(commands[1]))


def test_dead_letters_are_listed_and_shown(client: redis.Redis) -> None:
    ids = [bury(client, f"reason {number}", event_id=f"e{number}") for number in range(250)]
    found = list(dead_letters.letters(client))
    assert [letter.id for letter in found] == ids
    one = bury(client, "bad", event_id="x", payload='{"a": [1]}')
    assert dead_letters.show(client, one).to_json() == {
        "id": one,
        "reason": "bad",
        "event": {"event_id": "x", "payload": {"a": [1]}},
    }
    for unknown in ("1-1", "", "-", "(1-1", "nonsense"):
        with pytest.raises(dead_letters.UnknownLetterError, match="airlane dead list"):
            dead_letters.show(client, unknown)


def test_what_never_had_a_run_is_sent_again_as_it_was(client: redis.Redis) -> None:
    event = {"event_id": "x", "entity_id": "7", "at": "soon", "payload": "{"}
    letter = bury(client, "at: expected a time", **event)
    assert dead_letters.replay(client, letter) == "x"
    assert signups(client) == [event]
    assert list(dead_letters.letters(client)) == []
    with pytest.raises(dead_letters.UnknownLetterError):
        dead_letters.replay(client, letter)
    assert len(signups(client)) == 1


@pytest.mark.parametrize("reason", ["error: broken", "conflict: another content"])
def test_what_had_a_run_is_sent_under_a_new_id(client: redis.Redis, reason: str) -> None:
    letter = bury(client, reason, event_id="x", entity_id="7", at="2026-03-01T00:00:00Z")
    assert dead_letters.replay(client, letter) == "x.r2"
    assert signups(client)[0]["event_id"] == "x.r2"
    assert signups(client)[0]["entity_id"] == "7"


def test_a_letter_without_an_event_cannot_be_replayed(client: redis.Redis) -> None:
    letter = bury(client, "bad")
    with pytest.raises(dead_letters.UnknownLetterError, match="holds no event"):
        dead_letters.replay(client, letter)
    assert dead_letters.show(client, letter).reason == "bad"


def test_a_replay_is_decided_in_the_end(
    redis_url: str, airflow: AirflowDouble, users: Callable[[str], str]
) -> None:
    with redis.Redis.from_url(users("operator")) as operator:
        bad = {"event_id": "x", "entity_id": "7", "at": "2026-03-01T00:00:00Z"}
        operator.xadd(keys.SIGNUPS, {**bad, "at": "soon"})
        operator.xgroup_create(keys.SIGNUPS, keys.GROUP, id="0")

        async def reader() -> None:
            client = connect(users("intake"))
            reader = SignupReader(client, "c", 60)
            (entry,) = await reader.read(10, 1000)
            await reader.bury(entry.id, "at: expected a time")
            await client.aclose()

        asyncio.run(reader())
        (letter,) = dead_letters.letters(operator)
        assert letter.event["at"] == "soon"
        assert dead_letters.replay(operator, letter.id) == "x"
        assert len(signups(operator)) == 2


def test_the_rules_suffice_for_intake_and_producer(
    users: Callable[[str], str], redis_url: str, airflow: AirflowDouble
) -> None:
    async def intake() -> None:
        client = connect(users("intake"))
        reader = SignupReader(client, "c", 0.01)
        await reader.ensure_group()
        await reader.retire_dead()
        entries = await reader.read(10, 1000)
        assert len(entries) == 3
        await reader.keep([entry.id for entry in entries])
        await reader.release([entry.id for entry in entries])
        assert len(await reader.claim(10)) == 3
        await reader.acknowledge(entries[0].id)
        await reader.bury(entries[1].id, "bad")
        await reader.retire()
        with pytest.raises(NoPermissionError):
            await client.xadd(keys.DECISIONS, {"a": "b"})
        with pytest.raises(NoPermissionError):
            await client.flushall()
        await client.aclose()

    with redis.Redis.from_url(users("producer")) as client:
        for _ in range(3):
            producer.signup(client, 7)
        assert producer.tail(client) == "0-0"
        assert producer.wait(client, ["x"], 0.01) == {}
        for forbidden in (
            lambda: client.xadd(keys.DECISIONS, {"a": "b"}),
            lambda: client.xrange(keys.SIGNUPS),
            lambda: client.xadd(keys.DEAD, {"a": "b"}),
            lambda: client.xtrim(keys.SIGNUPS, maxlen=0),
            lambda: client.delete(keys.SIGNUPS),
            lambda: client.config_get("*"),
        ):
            with pytest.raises(NoPermissionError):
                forbidden()
    asyncio.run(intake())


def test_the_rules_suffice_for_the_relay(
    users: Callable[[str], str], worker_engine: Engine, relay_engine: Engine
) -> None:
    client = outbox.connect(users("relay"))
    with redis.Redis.from_url(users("intake")) as intake:
        intake.xadd(keys.SIGNUPS, {"event_id": "a"})
        intake.xgroup_create(keys.SIGNUPS, keys.GROUP, id="0")
        intake.xreadgroup(keys.GROUP, "c", {keys.SIGNUPS: ">"})
    publisher = outbox.Publisher(relay_engine, client)
    ledger.record(worker_engine, replace(DECISION, decision="error", score=None))
    while publisher.publish():
        pass
    publisher.heal()
    retention.trim_decisions(relay_engine, client, timedelta(0))
    retention.trim_signups(relay_engine, client, timedelta(0))
    with redis.Redis.from_url(users("intake")) as intake:
        intake.xack(keys.SIGNUPS, keys.GROUP, intake.xrange(keys.SIGNUPS)[0][0])
    ledger.record(worker_engine, replace(DECISION, event_id="a"))
    time.sleep(0.002)  # all of them are older than this moment
    retention.trim_signups(relay_engine, client, timedelta(0))
    with redis.Redis.from_url(users("producer")) as reader:
        assert producer.wait(reader, ["e"], 60)
    with redis.Redis.from_url(users("operator")) as operator:
        assert operator.xlen(keys.SIGNUPS) == 0
        assert [letter.reason for letter in dead_letters.letters(operator)] == ["error: fine"]
        assert operator.info()["redis_version"]
        with pytest.raises(NoPermissionError):
            operator.get("celery")
        with pytest.raises(NoPermissionError):
            operator.flushall()
    with pytest.raises(NoPermissionError):
        client.xadd("other", {"a": "b"})
    client.close()
