"""Flows, deployment and driver of the Prefect peer; runs in its environment."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import lines
import steps
from prefect import flow, get_client, task
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType

#: Requests of the flood's submission that are under way at a time.
REQUESTS = 8


@task
def step(run: str, number: int, seconds: float) -> int:
    return steps.step(run, number, seconds)


@task
def nap(seconds: float) -> None:
    steps.nap(seconds)


@flow
def chain6(run: str, seconds: float) -> None:
    for number in range(1, steps.STEPS + 1):
        step(run, number, seconds)


@flow
def doze(seconds: float) -> None:
    nap(seconds)


def deploy() -> None:
    for name, pool in (("chain6", "urgent"), ("doze", "batch")):
        found = flow.from_source(str(Path(__file__).parent), f"program.py:{name}")
        found.deploy(name=pool, work_pool_name=pool, print_next_steps=False)


def drive() -> None:
    client = get_client(sync_client=True)
    urgent = client.read_deployment_by_name("chain6/urgent").id
    batch = client.read_deployment_by_name("doze/batch").id

    def begin(run: str, seconds: float) -> Any:
        values = {"run": run, "seconds": seconds}
        return client.create_flow_run_from_deployment(urgent, parameters=values).id

    def started(run: str, seconds: float) -> None:
        begin(run, seconds)

    def end(identifier: Any) -> float | None:
        found = client.read_flow_run(identifier)
        if found.state and found.state.is_final() and not found.state.is_completed():
            raise RuntimeError(f"the flow run ended as {found.state}")
        return found.end_time and found.end_time.timestamp()

    def measure(run: str) -> float:
        start = time.time()
        identifier = begin(run, 0)
        return float(lines.poll(lambda: end(identifier), 0.2)) - start

    async def submit(count: int, seconds: float) -> None:
        gate = asyncio.Semaphore(REQUESTS)
        async with get_client() as several:

            async def one() -> None:
                async with gate:
                    await several.create_flow_run_from_deployment(
                        batch, parameters={"seconds": seconds}
                    )

            await asyncio.gather(*(one() for _ in range(count)))

    def flood(count: int, seconds: float) -> None:
        # the flow runs' processes would take the CPU from their own submission
        client.update_work_pool("batch", WorkPoolUpdate(is_paused=True))
        asyncio.run(submit(count, seconds))
        client.update_work_pool("batch", WorkPoolUpdate(is_paused=False))

    def waiting() -> int:
        return asyncio.run(count_waiting())

    async def count_waiting() -> int:
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        async with get_client() as several:
            return await several.count_flow_runs(
                flow_run_filter=FlowRunFilter(state=state),
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=["batch"])),
            )

    lines.serve(begin=started, measure=measure, flood=flood, waiting=waiting)


if __name__ == "__main__":
    deploy() if sys.argv[1:] == ["deploy"] else drive()
