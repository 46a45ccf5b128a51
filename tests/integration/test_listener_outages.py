"""The listener waits for servers that are away, slow or not in order, and loses nothing."""

from __future__ import annotations

import asyncio

import pytest
import redis

from intake.dead_letters import letters
from tests.airflow_double import AirflowDouble
from tests.integration.intake_lives import add, drained, listening, pending
from tests.servers import eventually


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
            await eventually(drained(events, airflow, 1), "a run")
        assert not airflow.faults
        assert list(letters(events)) == []

    asyncio.run(scenario())


def test_a_token_that_is_refused_is_renewed(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        async with listening(redis_url, airflow):
            add(events, "a")
            await eventually(drained(events, airflow, 1), "a run")
            airflow.token = "t2"
            for number in range(10):
                add(events, f"b{number}")
            await eventually(drained(events, airflow, 11), "11 runs")
        assert airflow.calls["login"] == 2

    asyncio.run(scenario())


def test_an_outage_of_the_api_loses_nothing(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        async with listening(redis_url, airflow) as (_, task):
            add(events, "before")
            await eventually(drained(events, airflow, 1), "a run")
            await asyncio.to_thread(airflow.stop)
            for number in range(80):
                add(events, f"e{number}")
            await eventually(lambda: pending(events) == 64, "as many as are held")
            # Longer than `claim_after`: signs of life keep the entries ours.
            await asyncio.sleep(1.5)
            assert not task.done()
            await asyncio.to_thread(airflow.start)
            await eventually(drained(events, airflow, 81), "81 runs")
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
            # a run is there a moment before its event is acknowledged
            await eventually(
                lambda: len(airflow.runs) == 20 and pending(events) == 3, "all but the three"
            )
            airflow.poison = set()
            await eventually(drained(events, airflow, 23), "23 runs")

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
            await eventually(drained(events, airflow, 10), "10 runs")
            look = "GET /api/v2/dags/onboarding/dagRuns"
            looks = airflow.calls[look]
            await eventually(lambda: airflow.calls[look] > looks + 1, "looks at what is active")
            assert len(airflow.runs) == 10
            assert pending(events) == 0
            for run in airflow.runs.values():
                run["state"] = "success"
            airflow.runs_stay_active = False
            await eventually(drained(events, airflow, 30), "30 runs")
        assert airflow.most_in_flight == 2

    asyncio.run(scenario())


def test_a_flushed_events_server_is_set_up_again(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    async def scenario() -> None:
        async with listening(redis_url, airflow):
            add(events, "a")
            await eventually(drained(events, airflow, 1), "a run")
            events.flushall()
            add(events, "b")
            await eventually(drained(events, airflow, 2), "2 runs")

    asyncio.run(scenario())
