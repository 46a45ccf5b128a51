"""A burst of sign-ups while a part is away for a minute: it hangs, which is worse than an end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from threading import Thread
from uuid import uuid4

import psutil
import pytest
import redis

from intake import producer
from tests.acceptance.stack import Stack

#: Seconds.
AWAY = 60
#: Sign-ups before and during the outage.
BEFORE, DURING = 20, 40


@contextmanager
def hanging(stack: Stack, part: str) -> Iterator[None]:
    """Have a part's processes stand still."""
    processes = stack.tree(part)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def send(stack: Stack, events: dict[str, int], at: datetime) -> None:
    """Send sign-ups as producers do: what was not answered is sent again, with the same words."""
    left = dict(events)
    url = stack.instance.events_url("producer")
    while left:
        with (
            suppress(redis.ConnectionError, redis.TimeoutError),
            redis.Redis.from_url(url, socket_timeout=5) as client,
        ):
            for event, entity in list(left.items()):
                producer.signup(client, entity, event_id=event, at=at)
                del left[event]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", ["api-server", "events", "triggerer", "postgres"])
def test_a_burst_while_a_part_is_away(decider: Stack, part: str) -> None:
    letters = len(decider.json("dead", "list"))
    at = datetime.now(UTC)
    first = {uuid4().hex: 1 + number for number in range(BEFORE)}
    burst = {uuid4().hex: 101 + number for number in range(DURING)}
    send(decider, first, at)
    sender = Thread(target=send, args=(decider, burst, at))
    with hanging(decider, part):
        sender.start()
        time.sleep(AWAY)
    sender.join(120)
    assert not sender.is_alive(), "producers are not answered"
    events = [*first, *burst]
    decisions = decider.decided(events, 480)
    decider.await_intake()
    decider.expect_once(events)
    assert "error" not in {decision["decision"] for decision in decisions.values()}
    assert len(decider.json("dead", "list")) == letters
    decider.await_health()
