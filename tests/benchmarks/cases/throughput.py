"""How much a stack can do, what a task costs, and what it costs to do nothing."""

from __future__ import annotations

import time

from tests.benchmarks import figures
from tests.benchmarks.cases.floods import Flood
from tests.benchmarks.cpu import CpuMeter
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import (
    CORES,
    CPU_SECONDS,
    TASKS_PER_SECOND,
    Case,
    Cost,
    Group,
    Plan,
    Results,
)
from tests.benchmarks.stack import Stack, await_true

_DEADLINE = 600
#: Seconds after a rest until an idle stack has caught up on what it does now and then.
_SETTLE = 8


def _saturate(stack: Stack, plan: Plan) -> Results:
    flood = Flood(4, int(plan.seconds(70, 50)), 0)
    meter = CpuMeter(stack.folder)
    begin = time.time()
    started = flood.start(stack)
    await_true(
        lambda: all(stack.metadata.ended("flood", run) for run in started),
        _DEADLINE,
        f"{stack.name} to do {flood.runs * flood.tasks} tasks",
    )
    use = meter.read()
    stack.clear()
    rows = stack.metadata.rows(
        "SELECT extract(epoch FROM end_date) FROM task_instance WHERE dag_id = 'flood' "
        "AND task_id = 'work' AND state = 'success' AND start_date > to_timestamp(%s)",
        (begin,),
    )
    ends = [float(row[0]) for row in rows]
    # without the ramp at either end
    low, high = figures.percentile(ends, 10), figures.percentile(ends, 90)
    tasks = len(ends) + flood.runs
    rate = 0.8 * len(ends) / (high - low)
    yield "throughput", Measurement([rate], uses=[use], tasks=tasks)
    yield "cpu_per_task", Measurement([use.stack / tasks], uses=[use], tasks=tasks)


def _idle(stack: Stack, plan: Plan) -> Results:
    stack.await_idle()
    time.sleep(_SETTLE)
    meter = CpuMeter(stack.folder)
    # longer than any regular work of a stack, such as reading all DAG files every 30 s
    time.sleep(32)
    use = meter.read()
    yield "idle_cpu", Measurement([use.stack / use.elapsed], uses=[use])


GROUPS = (
    Group(
        "throughput",
        (
            Case(
                "throughput",
                "Tasks that do nothing, at saturation",
                TASKS_PER_SECOND,
                higher_is_better=True,
            ),
            Case("cpu_per_task", "CPU of the whole stack for such a task", CPU_SECONDS),
        ),
        _saturate,
        Cost(stock=40, airlane=20),
        warm=False,
        quick=1,
    ),
    Group(
        "idle_cpu",
        (Case("idle_cpu", "CPU of the whole stack when nothing is to be done", CORES),),
        _idle,
        Cost(stock=40, airlane=40),
        warm=False,
        rounds=3,
        quick=1,
    ),
)
