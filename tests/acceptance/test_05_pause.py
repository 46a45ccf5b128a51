"""Pausing the listener's DAG stops the intake, unpausing goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from intake import keys
from tests.acceptance.stack import Stack, stays
from tests.servers import wait_until

LISTENER = "signup_listener"
#: The promise is 10 s; a loaded machine gets a little more.
STOPS_WITHIN = 15
#: A reader asks every second.
LIVE_MS = 5000


def _pause(stack: Stack, paused: bool) -> None:
    with stack.airflow() as client:
        answer = client.patch(f"/api/v2/dags/{LISTENER}", json={"is_paused": paused})
        assert answer.status_code == httpx.codes.OK, answer.text


def _readers(stack: Stack) -> dict[str, int]:
    """Return the group's consumers by name, each with the ms since it last asked for events."""
    with stack.events() as client:
        found: Any = client.xinfo_consumers(keys.SIGNUPS, keys.GROUP)
    return {consumer["name"]: consumer["idle"] for consumer in found}


@pytest.fixture
def paused(decider: Stack) -> Iterator[Stack]:
    live: list[str] = []

    def is_read() -> bool:
        # one that was killed stays in the list for a while
        live[:] = [name for name, idle in _readers(decider).items() if idle < LIVE_MS]
        return len(live) == 1

    wait_until(is_read, "the listener to read", 120)
    _pause(decider, True)
    try:
        stopped = lambda: live[0] not in _readers(decider)  # noqa: E731 - a condition
        wait_until(stopped, "the listener to stop reading", STOPS_WITHIN)
        yield decider
    finally:
        _pause(decider, False)


def test_events_wait_in_the_stream_while_the_listener_is_paused(paused: Stack) -> None:
    before = paused.group()
    events = paused.sign_up(21, 22, 23)
    stays(lambda: paused.group() == {**before, "lag": 3}, "the events undelivered", 5)
    assert set(paused.counts(events).values()) == {(0, 0, 0)}
    # it waits: a listener that ended would be started again only minutes after the pause
    query = "SELECT state FROM task_instance WHERE dag_id = %s AND state = 'deferred'"
    assert paused.metadata(query, LISTENER) == [{"state": "deferred"}]
    _pause(paused, False)
    paused.decided(events)
    paused.expect_once(events)
