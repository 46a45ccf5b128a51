"""Lives of the listener for tests, on real Valkey and a server that answers as Airflow does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from intake import keys
from intake.airflow_api import AirflowApi
from intake.listener import Intake, Limits
from intake.streams import SignupReader, connect
from tests.airflow_double import PASSWORD, USER, AirflowDouble

AT = "2026-03-01T12:00:00Z"
LIMITS: dict[str, Any] = {"claim_after": 1.0, "pause_check": 0.1, "lifetime": 120}


def set_trigger(monkeypatch: pytest.MonkeyPatch, redis_url: str, airflow: AirflowDouble) -> None:
    """Give the trigger the settings that it has in a triggerer's environment."""
    monkeypatch.setenv("AIRLANE_EVENTS_URL", redis_url)
    monkeypatch.setenv("AIRLANE_API_URL", airflow.url)
    monkeypatch.setenv("AIRLANE_API_USER", USER)
    monkeypatch.setenv("AIRLANE_API_PASSWORD", PASSWORD)


def add(events: redis.Redis, event_id: str, entity_id: str = "1", **more: str | bytes) -> str:
    """Add an event as a producer does; return its entry's id."""
    fields: dict[Any, Any] = {"event_id": event_id, "entity_id": entity_id, "at": AT, **more}
    entry: Any = events.xadd(keys.SIGNUPS, fields)
    return str(entry.decode())


def pending(events: redis.Redis) -> int:
    """Return how many entries are delivered and not done."""
    return int(events.xpending(keys.SIGNUPS, keys.GROUP)["pending"])


def drained(events: redis.Redis, airflow: AirflowDouble, count: int) -> Callable[[], bool]:
    """Return what tells whether there are so many runs and every entry delivered is done."""
    return lambda: len(airflow.runs) == count and pending(events) == 0


def is_taken_in(events: redis.Redis) -> bool:
    """Tell whether every event is delivered and done."""
    groups: Any = events.xinfo_groups(keys.SIGNUPS)
    return bool(groups) and not groups[0]["lag"] and not groups[0]["pending"]


@asynccontextmanager
async def listening(
    redis_url: str, airflow: AirflowDouble, consumer: str = "c1", **limits: Any
) -> AsyncIterator[tuple[Intake, asyncio.Task[str]]]:
    """Run one life of the listener; at the end it is stopped and what it says is checked."""
    client = connect(redis_url)
    api = AirflowApi(airflow.url, USER, PASSWORD, "onboarding")
    bounds = Limits(**{**LIMITS, **limits})
    reader = SignupReader(client, consumer, bounds.claim_after)
    intake = Intake(reader, api, "signup_listener", bounds)
    task = asyncio.create_task(intake.run())
    try:
        yield intake, task
    finally:
        intake.stop("the test is over")
        await asyncio.gather(task, return_exceptions=True)
        await api.close()
        await client.aclose()
    if not task.cancelled():
        assert task.result()
