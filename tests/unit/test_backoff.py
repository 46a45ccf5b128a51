from __future__ import annotations

import asyncio
import time

import pytest

from intake import backoff
from intake.backoff import SharedBackoff, delay, is_told


@pytest.mark.parametrize("attempt", [1, 2, 5, 50, 5000])
def test_delays_grow_to_a_bound(attempt: int) -> None:
    bound = min(backoff.LONGEST, backoff.FIRST * 2 ** (min(attempt, 20) - 1))
    for _ in range(20):
        assert bound / 2 <= delay(attempt) <= bound


def test_a_long_outage_is_told_less_and_less() -> None:
    assert [number for number in range(1, 70) if is_told(number)] == [1, 2, 4, 8, 16, 32, 64]


def test_one_that_recovers_wakes_those_who_wait() -> None:
    async def scenario() -> None:
        shared = SharedBackoff()
        waiting = [asyncio.create_task(shared.wait(20)) for _ in range(5)]
        await asyncio.sleep(0)
        shared.succeeded(attempt=1)
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting), "others passing proves nothing"
        begin = time.monotonic()
        shared.succeeded(attempt=2)
        await asyncio.gather(*waiting)
        assert time.monotonic() - begin < 2

    asyncio.run(scenario())
