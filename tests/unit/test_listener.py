"""The listener's loop with readers that behave badly."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from intake.airflow_api import AirflowApi, Outcome, RetryLaterError
from intake.listener import Intake, Limits
from intake.streams import Entry, SignupReader


class SwallowingReader:
    """Drops each cancellation, as `asyncio.wait_for` of Python 3.11 may do."""

    def __init__(self, *, entries: bool) -> None:
        self.reads = asyncio.Event()
        self.entries = entries

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            return

    async def ensure_group(self) -> None:
        pass

    async def retire_dead(self) -> None:
        pass

    async def claim(self, count: int) -> list[Entry]:  # noqa: ARG002
        return []

    async def read(self, count: int, block_ms: int) -> list[Entry]:  # noqa: ARG002
        self.reads.set()
        await self._sleep(0.05)
        return [Entry(b"1-0", {})] if self.entries else []

    async def bury(self, *_: Any) -> None:
        self.reads.set()
        await self._sleep(0.05)
        raise RetryLaterError("away")

    async def keep(self, ids: list[bytes]) -> None:  # noqa: ARG002
        await self._sleep(0.05)

    async def release(self, ids: list[bytes]) -> None:
        pass

    async def retire(self) -> None:
        pass


class Api:
    async def is_paused(self, _: str) -> bool:
        return False

    async def active_runs(self) -> int:
        return 0


@pytest.mark.parametrize("entries", [False, True])
def test_a_cancellation_that_a_library_swallows_ends_it_nevertheless(entries: bool) -> None:
    async def scenario() -> None:
        reader = SwallowingReader(entries=entries)
        limits = Limits(claim_after=0.01)
        intake = Intake(cast("SignupReader", reader), cast("AirflowApi", Api()), "x", limits)
        task = asyncio.create_task(intake.run())
        for _ in range(3):
            reader.reads.clear()
            await reader.reads.wait()
        task.cancel()
        await asyncio.wait([task], timeout=30)
        assert task.cancelled()

    asyncio.run(scenario())


def test_a_run_that_is_created_while_the_api_counts_is_not_missed() -> None:
    class Counting(Api):
        async def active_runs(self) -> int:
            # counted before the answer to an entry in flight came
            for _ in range(3):
                await intake._create(cast("Any", None))
            return 6

        async def create_run(self, _: object) -> Outcome:
            return Outcome.CREATED

    reader = SwallowingReader(entries=False)
    limits = Limits(requests=16, active_runs=10)
    intake = Intake(cast("SignupReader", reader), cast("AirflowApi", Counting()), "x", limits)
    assert asyncio.run(intake._room()) == 1
