"""What lent capacity gives urgent work: several chains at once, with it and without.

Each layout needs a start of the stack, so that a whole benchmark leaves this out.
"""

from __future__ import annotations

import time

from tests.benchmarks import flow, stages
from tests.benchmarks.cases.floods import Flood
from tests.benchmarks.cpu import CpuMeter
from tests.benchmarks.errors import BenchError
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import Case, Cost, Group, Plan, Results
from tests.benchmarks.runs import IDLE_LIMIT, run
from tests.benchmarks.stack import STANDARD, UNLENT, Stack, await_true

#: Chains that are started together, against the two slots of the urgent class: each batch of them
#: after the last has ended.
TOGETHER = 6
_BATCHES, _QUICK_BATCHES = 5, 2
_DAG = "chain6"
_FLOOD = Flood(9, 220, 1)
_LAYOUTS = {"": STANDARD, "_none": UNLENT}


def _measure(stack: Stack, plan: Plan) -> Results:
    # A B, and A B again in the next round
    for suffix, layout in _LAYOUTS.items():
        stack.down()
        stack.up(layout)
        try:
            for _ in range(2):
                run(stack, _DAG)
            yield f"lent_capacity{suffix}", _together(stack, plan)
            begin = time.time()
            _FLOOD.start(stack)
            tasks = _FLOOD.runs * _FLOOD.tasks
            notes = flow.await_steady(stack, "flood", begin, tasks, _FLOOD.seconds)
            flooded = _together(stack, plan)
            flooded.notes += notes
            yield f"lent_capacity_flood{suffix}", flooded
        finally:
            stack.clear()


def _together(stack: Stack, plan: Plan) -> Measurement:
    """Start several chains at once, again and again; each chain is a sample."""
    found = Measurement()
    meter = CpuMeter(stack.folder)
    for _ in range(_QUICK_BATCHES if plan.quick else _BATCHES):
        time.sleep(plan.random.uniform(0, 1))
        started = [stack.api.trigger(_DAG) for _ in range(TOGETHER)]
        for run_id, called in started:
            await_true(
                lambda run_id=run_id: stack.metadata.ended(_DAG, run_id),  # type: ignore[misc]
                *(IDLE_LIMIT, f"{stack.name}'s {TOGETHER} chains to end", 0.03),
            )
            times = stack.metadata.run(_DAG, run_id, called)
            if times.state != "success":
                raise BenchError(f"expected {_DAG} {run_id} to succeed, found it {times.state}")
            found.samples.append(times.seconds)
            found.stages = stages.merge((found.stages, stages.of_chain(times)))
            found.tasks += len(times.steps)
    found.uses.append(meter.read())
    return found


def _case(suffix: str, beside: str, words: str) -> Case:
    title = f"{TOGETHER} chains of 6 trivial tasks at once, {beside}, {words}"
    return Case(f"lent_capacity{suffix}", title, stacks=("airlane",))


GROUPS = (
    Group(
        "lent_capacity",
        tuple(
            _case(f"{where}{suffix}", beside, words)
            for where, beside in (("", "idle"), ("_flood", "beside 9 runs x 220 tasks of 1 s"))
            for suffix, words in (("", "batch lends its slots"), ("_none", "batch lends nothing"))
        ),
        _measure,
        Cost(stock=0, airlane=240),
        warm=False,
        whole=False,
    ),
)
