"""What becomes of an event: one run, a conflict, a dead letter."""

from __future__ import annotations

import asyncio
import json

import redis

from intake import keys
from intake.dead_letters import letters
from intake.producer import signup
from tests.airflow_double import AirflowDouble
from tests.integration.intake_lives import AT, add, drained, listening
from tests.servers import eventually


def test_each_event_becomes_one_run_and_is_acknowledged(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        first = signup(events, 7, payload={"channel": "web"})
        async with listening(redis_url, airflow):
            await eventually(drained(events, airflow, 1), "a run")
            # Waiting now in a blocking read: wakes at once.
            ids = [signup(events, entity_id) for entity_id in range(40)]
            await eventually(drained(events, airflow, 41), "41 runs")
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
            await eventually(drained(events, airflow, 1), "a run")
            add(events, "a", payload='{"y": 2, "x": 1}')
            other = add(events, "a", entity_id="2")
            add(events, "b")
            await eventually(drained(events, airflow, 2), "2 runs")
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
            await eventually(drained(events, airflow, 1), "a run")
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
            await eventually(lambda: len(list(letters(events))) == 1, "a dead letter")
            airflow.faults.append(("POST", 422, "Value rejected by database"))
            add(events, "b")
            await eventually(lambda: len(list(letters(events))) == 2, "two dead letters")
        reasons = [letter.reason for letter in letters(events)]
        assert "too odd" in reasons[0]
        assert "(422)" in reasons[1]
        assert airflow.runs == {}

    asyncio.run(scenario())
