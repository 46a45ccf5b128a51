"""Lives of the listener, one after the other and side by side."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest
import redis

from airflow_config.place import ROOT
from intake import keys
from intake.dead_letters import letters
from intake.listener import PAUSED
from intake.streams import SignupReader, connect
from tests.airflow_double import PASSWORD, USER, AirflowDouble
from tests.integration.intake_lives import AT, add, drained, is_taken_in, listening, pending
from tests.servers import eventually


def test_a_pause_ends_it_and_a_new_life_goes_on(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        async with listening(redis_url, airflow) as (_, task):
            add(events, "a")
            await eventually(drained(events, airflow, 1), "a run")
            airflow.paused.add("signup_listener")
            assert await asyncio.wait_for(task, 60) == PAUSED
        add(events, "b")
        assert airflow.events() == ["a"]
        airflow.paused.clear()
        async with listening(redis_url, airflow, "c2"):
            await eventually(drained(events, airflow, 2), "2 runs")

    asyncio.run(scenario())


def test_a_life_ends_in_time(redis_url: str, airflow: AirflowDouble) -> None:
    async def scenario() -> None:
        async with listening(redis_url, airflow, lifetime=0.2) as (_, task):
            assert await asyncio.wait_for(task, 60) == "end of this life"

    asyncio.run(scenario())


def test_what_a_cancelled_reader_held_is_claimed_at_once(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        airflow.import_errors = True
        async with listening(redis_url, airflow, claim_after=3600) as (_, task):
            add(events, "a")
            add(events, "b")
            posts = "POST /api/v2/dags/onboarding/dagRuns"
            await eventually(lambda: airflow.calls[posts] > 0 and pending(events) == 2, "tries")
            # As the triggerer does at its end.
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert pending(events) == 2
        airflow.import_errors = False
        async with listening(redis_url, airflow, "c2", claim_after=3600):
            await eventually(drained(events, airflow, 2), "2 runs")
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
            await eventually(drained(events, airflow, 30), "30 runs")
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
            await eventually(drained(events, airflow, 20), "20 runs")
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
            await eventually(
                lambda: len(airflow.runs) == 100 and is_taken_in(events),
                "100 runs, and the bad one",
            )
        assert len(list(letters(events))) == 1

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
        assert not await reader.bury(entry.encode(), "too late")
        assert list(letters(events)) == []
        await client.aclose()

    asyncio.run(scenario())
