"""The listener against a real Valkey and an HTTP server that answers as Airflow does."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
import redis

from airflow_config.place import ROOT
from intake import keys
from intake.dead_letters import letters
from intake.listener import PAUSED
from intake.producer import signup
from intake.streams import SignupReader, connect
from tests.airflow_double import PASSWORD, USER, AirflowDouble
from tests.integration.intake_lives import AT, add, eventually, listening, pending


@pytest.fixture
def events(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


def drained(events: redis.Redis, airflow: AirflowDouble, count: int) -> Callable[[], bool]:
    return lambda: len(airflow.runs) == count and pending(events) == 0


def test_each_event_becomes_one_run_and_is_acknowledged(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        first = signup(events, 7, payload={"channel": "web"})
        async with listening(redis_url, airflow):
            await eventually(drained(events, airflow, 1))
            # Waiting now in a blocking read: wakes at once.
            ids = [signup(events, entity_id) for entity_id in range(40)]
            await eventually(drained(events, airflow, 41))
        assert airflow.events() == sorted([first, *ids])
        event = airflow.runs[f"signup-{first}"]["conf"]["event"]
        assert event["entity_id"] == "7"
        assert event["payload"] == {"channel": "web"}
        assert event["received_at"]
        assert airflow.calls["login"] == 1
        assert list(letters(events)) == []
        assert events.xinfo_consumers(keys.SIGNUPS, keys.GROUP) == []

    asyncio.run(scenario())


def test_an_event_that_comes_again_is_done_and_a_conflict_a_dead_letter(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        async with listening(redis_url, airflow):
            add(events, "a", payload='{"x": 1.0, "y": 2}')
            await eventually(drained(events, airflow, 1))
            add(events, "a", payload='{"y": 2, "x": 1}')
            other = add(events, "a", entity_id="2")
            add(events, "b")
            await eventually(drained(events, airflow, 2))
        (letter,) = letters(events)
        assert letter.reason.startswith("conflict: ")
        assert letter.source == other
        assert letter.event == {"event_id": "a", "entity_id": "2", "at": AT}
        assert airflow.runs["signup-a"]["conf"]["event"]["entity_id"] == "1"

    asyncio.run(scenario())


def test_what_cannot_be_read_is_a_dead_letter_and_holds_up_nobody(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        bad = [
            events.xadd(keys.SIGNUPS, {"event_id": "a"}),
            events.xadd(keys.SIGNUPS, {b"\xff": b"\xfe"}),
            events.xadd(keys.SIGNUPS, {f"f{number}": "x" for number in range(5000)}),
            add(events, "../up"),
            add(events, "b", payload="{"),
            add(events, "c", payload=json.dumps("x" * 70_000)),
            add(events, "d", entity_id="\0"),
        ]
        add(events, "good")
        async with listening(redis_url, airflow):
            await eventually(drained(events, airflow, 1))
        found = list(letters(events))
        assert len(found) == len(bad)
        assert {letter.source for letter in found} == {
            entry if isinstance(entry, str) else entry.decode() for entry in bad
        }
        assert all("expected" in letter.reason for letter in found)
        oversized = next(letter for letter in found if letter.event.get("event_id") == "c")
        assert oversized.event["payload"] == "x" * 70_000
        assert events.zcard(keys.BURIED) == len(bad)

    asyncio.run(scenario())


def test_what_airflow_refuses_for_ever_is_a_dead_letter(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        airflow.faults.append(("POST", 400, "Invalid input for param event: too odd"))
        add(events, "a")
        async with listening(redis_url, airflow, requests=1):
            await eventually(lambda: len(list(letters(events))) == 1)
            airflow.faults.append(("POST", 422, "Value rejected by database"))
            add(events, "b")
            await eventually(lambda: len(list(letters(events))) == 2)
        reasons = [letter.reason for letter in letters(events)]
        assert "too odd" in reasons[0]
        assert "(422)" in reasons[1]
        assert airflow.runs == {}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "fault",
    [
        ("POST", 500, "Internal Server Error"),
        ("POST", 503, "busy"),
        ("POST", 401, "expired"),
        ("POST", 403, "Forbidden"),
        ("POST", 404, "Dag with dag_id: 'onboarding' not found"),
        ("POST", 400, "Dag with dag_id: 'onboarding' has import errors and cannot be triggered"),
        ("POST", 400, "Dag with dag_id: 'onboarding' does not allow manual runs"),
        ("GET", 500, "Internal Server Error"),
    ],
)
def test_what_is_not_the_events_fault_is_tried_again(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble, fault: tuple[str, int, str]
) -> None:
    async def scenario() -> None:
        airflow.faults.extend([fault] * 3)
        add(events, "a")
        async with listening(redis_url, airflow):
            await eventually(drained(events, airflow, 1))
        assert not airflow.faults
        assert list(letters(events)) == []

    asyncio.run(scenario())


def test_a_token_that_is_refused_is_renewed(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        async with listening(redis_url, airflow):
            add(events, "a")
            await eventually(drained(events, airflow, 1))
            airflow.token = "t2"
            for number in range(10):
                add(events, f"b{number}")
            await eventually(drained(events, airflow, 11))
        assert airflow.calls["login"] == 2

    asyncio.run(scenario())


def test_an_outage_of_the_api_loses_nothing(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        async with listening(redis_url, airflow) as (_, task):
            add(events, "before")
            await eventually(drained(events, airflow, 1))
            await asyncio.to_thread(airflow.stop)
            for number in range(80):
                add(events, f"e{number}")
            await eventually(lambda: pending(events) == 64)
            # Longer than `claim_after`: signs of life keep the entries ours.
            await asyncio.sleep(1.5)
            assert not task.done()
            await asyncio.to_thread(airflow.start)
            await eventually(drained(events, airflow, 81))
        posts = airflow.calls["POST /api/v2/dags/onboarding/dagRuns"]
        assert posts == 81

    asyncio.run(scenario())


def test_an_event_that_breaks_the_api_holds_up_nobody(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        airflow.poison = {"p0", "p1", "p2"}
        for event_id in sorted(airflow.poison):
            add(events, event_id)
        for number in range(20):
            add(events, f"e{number}")
        async with listening(redis_url, airflow, requests=1):
            await eventually(lambda: len(airflow.runs) == 20)
            assert pending(events) == 3
            airflow.poison = set()
            await eventually(drained(events, airflow, 23))

    asyncio.run(scenario())


def test_requests_and_active_runs_are_bounded(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        airflow.delay = 0.05
        airflow.runs_stay_active = True
        for number in range(30):
            add(events, f"e{number:02}")
        async with listening(redis_url, airflow, requests=2, active_runs=10):
            await eventually(lambda: len(airflow.runs) == 10)
            await asyncio.sleep(0.7)
            assert len(airflow.runs) == 10
            assert pending(events) == 0
            for run in airflow.runs.values():
                run["state"] = "success"
            airflow.runs_stay_active = False
            await eventually(drained(events, airflow, 30))
        assert airflow.most_in_flight == 2

    asyncio.run(scenario())


def test_a_pause_ends_it_and_a_new_life_goes_on(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        async with listening(redis_url, airflow) as (_, task):
            add(events, "a")
            await eventually(drained(events, airflow, 1))
            airflow.paused.add("signup_listener")
            assert await asyncio.wait_for(task, 10) == PAUSED
        add(events, "b")
        await asyncio.sleep(0.3)
        assert airflow.events() == ["a"]
        airflow.paused.clear()
        async with listening(redis_url, airflow, "c2"):
            await eventually(drained(events, airflow, 2))

    asyncio.run(scenario())


def test_a_life_ends_in_time(redis_url: str, airflow: AirflowDouble) -> None:
    async def scenario() -> None:
        async with listening(redis_url, airflow, lifetime=0.2) as (_, task):
            assert await asyncio.wait_for(task, 10) == "end of this life"

    asyncio.run(scenario())


def test_what_a_cancelled_reader_held_is_claimed_at_once(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        airflow.import_errors = True
        async with listening(redis_url, airflow, claim_after=3600) as (_, task):
            add(events, "a")
            add(events, "b")
            await eventually(lambda: airflow.calls["POST /api/v2/dags/onboarding/dagRuns"] >= 2)
            # As the triggerer does at its end.
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert pending(events) == 2
        airflow.import_errors = False
        async with listening(redis_url, airflow, "c2", claim_after=3600):
            await eventually(drained(events, airflow, 2))
        # The first consumer still had entries when it ended; nothing is lost by its name staying.
        assert len(airflow.runs) == 2

    asyncio.run(scenario())


def test_what_a_dead_reader_held_is_claimed(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        events.xgroup_create(keys.SIGNUPS, keys.GROUP, id="0", mkstream=True)
        ids = sorted(add(events, f"e{number}") and f"e{number}" for number in range(30))
        # A reader that was killed after the delivery, for some of them after its run was made.
        events.xreadgroup(keys.GROUP, "dead", {keys.SIGNUPS: ">"}, count=100)
        event = {"event_id": "e0", "entity_id": "1", "at": AT, "payload": None}
        airflow.add_run("signup-e0", {"event": event}, "success")
        async with listening(redis_url, airflow, requests=1):
            await eventually(drained(events, airflow, 30))
        assert airflow.events() == ids
        assert list(letters(events)) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("method", ["acknowledge", "bury"])
def test_a_kill_just_before_the_acknowledgement_loses_and_doubles_nothing(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble, method: str
) -> None:
    program = f"""
import asyncio, os, signal
from intake import airflow_api, listener, streams
async def last(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
streams.SignupReader.{method} = last
async def main():
    api = airflow_api.AirflowApi({airflow.url!r}, {USER!r}, {PASSWORD!r}, "onboarding")
    reader = streams.SignupReader(streams.connect({redis_url!r}), "killed", 60)
    await listener.Intake(reader, api, "signup_listener", listener.Limits()).run()
asyncio.run(main())
"""
    add(events, "bad", at="soon")
    for number in range(20):
        add(events, f"e{number}")
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL

    async def scenario() -> None:
        async with listening(redis_url, airflow):
            await eventually(drained(events, airflow, 20))
        assert len(list(letters(events))) == 1

    assert pending(events) > 0
    asyncio.run(scenario())


def test_two_readers_at_once_make_each_run_once(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        airflow.delay = 0.01
        async with (
            listening(redis_url, airflow, "c1", claim_after=0.05),
            listening(redis_url, airflow, "c2", claim_after=0.05),
        ):
            for number in range(100):
                add(events, f"e{number}")
            events.xadd(keys.SIGNUPS, {"bad": "1"})
            await eventually(drained(events, airflow, 100))
        assert len(list(letters(events))) == 1

    asyncio.run(scenario())


def test_a_flushed_events_server_is_set_up_again(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        async with listening(redis_url, airflow):
            add(events, "a")
            await eventually(drained(events, airflow, 1))
            events.flushall()
            add(events, "b")
            await eventually(lambda: len(airflow.runs) == 2)

    asyncio.run(scenario())


def test_a_consumer_of_a_former_life_is_kept_while_something_is_pending_for_it(
    redis_url: str, events: redis.Redis
) -> None:
    async def scenario() -> None:
        client = connect(redis_url)
        reader = SignupReader(client, "c1", 60)
        await reader.ensure_group()
        await reader.ensure_group()
        entry = add(events, "a")
        assert [found.id.decode() for found in await reader.read(10, 1000)] == [entry]
        await reader.retire()
        assert len(events.xinfo_consumers(keys.SIGNUPS, keys.GROUP)) == 1
        await reader.acknowledge(entry.encode())
        await reader.retire()
        assert events.xinfo_consumers(keys.SIGNUPS, keys.GROUP) == []
        # Not pending any more: no second end for it.
        await reader.bury(entry.encode(), "too late")
        assert list(letters(events)) == []
        await client.aclose()

    asyncio.run(scenario())
