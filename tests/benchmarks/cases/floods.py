"""Urgent chains while batch work waits, and what that does to the batch work."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from tests.benchmarks import runs, work
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import STACKS, TASKS_PER_SECOND, Case, Cost, Count, Group, Plan, Results
from tests.benchmarks.stack import Stack, await_true

#: Seconds for a flood to flow, that is until the first wave of tasks has ended.
_FLOW_DEADLINE = 240
#: Seconds after which a chain under a flood is given up.
LIMIT = 300
_DAG = "flood"


@dataclass(frozen=True)
class Flood:
    """So many runs of so many tasks that sleep so long."""

    runs: int
    tasks: int
    seconds: float

    def start(self, stack: Stack) -> list[str]:
        """Start it, and return its runs; `Stack.clear` ends it."""
        conf = {"tasks": self.tasks, "seconds": self.seconds}
        return [stack.api.trigger(_DAG, conf)[0] for _ in range(self.runs)]


def _measure(stack: Stack, plan: Plan, *, suffix: str, flood: Flood, count: Count) -> Results:
    begin = time.time()
    flood.start(stack)
    await_true(
        lambda: stack.metadata.ended_tasks([_DAG], begin, time.time()) >= 8 + flood.runs,
        _FLOW_DEADLINE,
        f"{stack.name}'s flood to flow",
    )
    names = _names(suffix)
    if stack.name in _stacks_alone(suffix):
        start = time.time()
        time.sleep(20)
        rate = work.rate(stack, [_DAG], start, time.time(), flood.seconds)
        yield names[2], Measurement([rate])
    start = time.time()
    chains = runs.chain(
        stack,
        plan,
        "chain6",
        count,
        warm=False,
        limit=LIMIT,
        still=lambda: stack.metadata.waiting_tasks([_DAG]) > 0,
    )
    end = time.time()
    beside = Measurement([work.rate(stack, [_DAG], start, end, flood.seconds)])
    # of all tasks: the chain's are counted there already
    chains.tasks += round(beside.samples[0] * (end - start))
    stack.clear()
    yield from zip(names[:2], (chains, beside), strict=True)


def _names(suffix: str) -> tuple[str, str, str]:
    """Return the names of a flood's cases.

    The flood of 1 s tasks, which fills the CPU and yet does some work, is the one that the
    targets mean by "the flood's throughput".
    """
    end = "" if suffix == "1s" else f"_{suffix}"
    return f"chain6_flood_{suffix}", f"flood_throughput{end}", f"flood_throughput_alone{end}"


def _stacks_alone(suffix: str) -> tuple[str, ...]:
    """Return the stacks whose flood is measured alone.

    The question is what urgent work takes from airlane's flood; of stock one flood will do.
    """
    return STACKS if suffix == "1s" else ("airlane",)


def _group(
    suffix: str, words: str, flood: Flood, count: Count, cost: Cost, quick: int = 0
) -> Group:
    chains, beside, alone = _names(suffix)
    return Group(
        chains,
        (
            Case(chains, f"6 trivial tasks in a row, beside {words}"),
            *(
                Case(
                    *(name, f"{words}: throughput {how}", TASKS_PER_SECOND),
                    higher_is_better=True,
                    stacks=stacks,
                )
                for name, how, stacks in (
                    (beside, "beside urgent work", STACKS),
                    (alone, "alone", _stacks_alone(suffix)),
                )
            ),
        ),
        partial(_measure, suffix=suffix, flood=flood, count=count),
        cost,
        rounds=1,
        quick=quick,
        warm=False,
    )


GROUPS = (
    _group(
        "10s",
        "4 runs x 200 tasks of 10 s",
        Flood(4, 200, 10),
        Count(stock=2, airlane=12, quick_stock=1, quick_airlane=8, seconds=120),
        Cost(stock=195, airlane=65),
    ),
    _group(
        "1s",
        "9 runs x 220 tasks of 1 s",
        Flood(9, 220, 1),
        Count(stock=3, airlane=12, quick_stock=2, quick_airlane=8, seconds=60),
        Cost(stock=92, airlane=62),
        quick=1,
    ),
    _group(
        "0s",
        "5 runs x 1,000 tasks of 0 s",
        Flood(5, 1000, 0),
        Count(stock=2, airlane=12, quick_stock=2, quick_airlane=8, seconds=60),
        Cost(stock=56, airlane=70),
    ),
)
