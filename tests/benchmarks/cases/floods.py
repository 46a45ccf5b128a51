"""Urgent chains while batch work waits, and what that does to the batch work."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from tests.benchmarks import flow, runs, work
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import STACKS, TASKS_PER_SECOND, Case, Cost, Count, Group, Plan, Results
from tests.benchmarks.stack import Stack

#: Seconds for which a flood's pace alone is measured.
_ALONE = 15
#: Idle chains before a load, and as many after it.
_BESIDE = Count(stock=0, airlane=8, quick_airlane=4, seconds=30)
BESIDE_STACKS = ("airlane",)
#: Seconds between the starts of two chains under a flood, at least; two on average.
_EVERY = 1.5
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
    names = _names(suffix)
    before = idle_beside(stack, plan)
    begin = time.time()
    flood.start(stack)
    notes = flow.await_steady(stack, _DAG, begin, flood.runs * flood.tasks, flood.seconds)
    start = time.time()
    chains = runs.chain(
        stack,
        plan,
        "chain6",
        count,
        warm=False,
        limit=LIMIT,
        every=_EVERY,
        still=lambda: stack.metadata.waiting_tasks([_DAG]) > 0,
    )
    end = time.time()
    beside = Measurement([work.rate(stack, [_DAG], start, end, flood.seconds)], notes=notes)
    # of all tasks: the chain's are counted there already
    chains.tasks += round(beside.samples[0] * (end - start))
    chains.notes += notes
    yield from zip(names[:2], (chains, beside), strict=True)
    if stack.name in _stacks_alone(suffix):
        # in the same flood, which flows as before: its start is no part of either pace
        yield names[2], _alone(stack, flood, notes)
    stack.clear()
    if before:
        before.merge(idle_beside(stack, plan) or Measurement())
        yield beside_name(suffix), before


def _alone(stack: Stack, flood: Flood, notes: list[str]) -> Measurement:
    start = time.time()
    time.sleep(_ALONE)
    found = Measurement(
        [work.rate(stack, [_DAG], start, time.time(), flood.seconds)], notes=[*notes]
    )
    if not stack.metadata.waiting_tasks([_DAG]):
        found.notes.append("the flood was over before its pace alone was measured")
    return found


def idle_beside(stack: Stack, plan: Plan, count: Count = _BESIDE) -> Measurement | None:
    """Return idle chains of airlane from right beside a load, to judge those under it by.

    A machine drifts through the hour of a benchmark; what was idle at its beginning is no measure.
    """
    if stack.name not in BESIDE_STACKS:
        return None
    return runs.chain(stack, plan, "chain6", count)


def beside_name(suffix: str) -> str:
    """Return the name of the case of idle chains beside a load."""
    return f"chain6_idle_beside_{suffix}"


def beside_case(suffix: str, words: str, when: str = "before and after") -> Case:
    """Return the case of idle chains beside a load."""
    title = f"6 trivial tasks in a row, idle, right {when} {words}"
    return Case(beside_name(suffix), title, stacks=BESIDE_STACKS)


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
            beside_case(suffix, words),
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
        Count(stock=2, airlane=20, quick_stock=1, quick_airlane=8, seconds=120),
        Cost(stock=135, airlane=115),
    ),
    _group(
        "1s",
        "9 runs x 220 tasks of 1 s",
        Flood(9, 220, 1),
        Count(stock=3, airlane=20, quick_stock=2, quick_airlane=8, seconds=60),
        Cost(stock=105, airlane=130),
        quick=1,
    ),
    _group(
        "0s",
        "5 runs x 1,000 tasks of 0 s",
        Flood(5, 1000, 0),
        Count(stock=2, airlane=20, quick_stock=2, quick_airlane=8, seconds=60),
        Cost(stock=75, airlane=145),
    ),
)
