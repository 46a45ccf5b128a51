"""Urgent chains as what waits, runs, is kept or must be read grows."""

from __future__ import annotations

import time

from tests.benchmarks import dag_files, history, runs
from tests.benchmarks.cases.floods import LIMIT, Flood
from tests.benchmarks.cpu import CpuMeter
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import CORES, Case, Count, Group, Plan, Results
from tests.benchmarks.stack import Stack, await_true

_DAG = "backlog"
_DEADLINE = 900
#: Waiting tasks in all, and the runs that are added for them.
_WAITING = ((0, 0), (1_000, 1), (5_000, 4), (20_000, 15))
_RUNNING = (10, 100, 1_000)
_OLD = (0, 100_000, 1_000_000)
_FILES = (50, 200, 500)
#: Groups whose sizes are written out.
_PLAIN = ("growth_runs", "growth_files")
#: Beside a backlog stock takes minutes for a run.
_COUNT = Count(stock=2, airlane=20, quick_stock=1, quick_airlane=5, seconds=60)
_IDLE_COUNT = Count(stock=5, airlane=20, quick_stock=2, quick_airlane=5, seconds=90)


def _waiting(stack: Stack, plan: Plan) -> Results:
    for total, added in _WAITING:
        Flood(added, 1_000, 10).start(stack, _DAG)
        await_true(
            # those that run or have ended while the others were made
            lambda total=total: stack.metadata.waiting_tasks([_DAG]) >= total * 0.9,  # type: ignore[misc]
            _DEADLINE,
            f"{total} tasks of {stack.name} to wait",
        )
        count = _COUNT if total else _IDLE_COUNT
        yield (
            _case("growth_waiting", total),
            runs.chain(stack, plan, "chain6", count, warm=False, limit=LIMIT),
        )
    stack.clear()


def _running(stack: Stack, plan: Plan) -> Results:
    started: list[str] = []
    # with their tasks made, which the first task of each tells how many there are
    running = (
        "SELECT count(*) FROM dag_run r WHERE dag_id = %s AND state = 'running' AND EXISTS "
        "(SELECT 1 FROM task_instance t WHERE t.dag_id = r.dag_id AND t.run_id = r.run_id "
        "AND t.task_id = 'lengths' AND t.state = 'success')"
    )
    for total in _RUNNING:
        # enough for the fewest of them to last as long as the case
        started += Flood(total - len(started), 8, 30).start(stack, _DAG)
        await_true(
            lambda total=total: stack.metadata.number(running, (_DAG,)) >= total * 0.9,  # type: ignore[misc]
            _DEADLINE,
            f"{total} runs of {stack.name} to be running",
        )
        yield (
            _case("growth_runs", total),
            runs.chain(stack, plan, "chain6", _COUNT, warm=False, limit=LIMIT),
        )
    stack.clear()


def _old(stack: Stack, plan: Plan) -> Results:
    there = 0
    for total in _OLD:
        if total:
            history.add(stack.metadata, "chain6", total - there)
            there = total
        yield _case("growth_db", total), runs.chain(stack, plan, "chain6", _IDLE_COUNT, warm=False)


def _files(stack: Stack, plan: Plan) -> Results:
    for total in _FILES:
        with dag_files.present(stack, dag_files.names("file", total), None):
            time.sleep(plan.seconds(15, 10))  # the first reading of all is over
            meter = CpuMeter(stack.folder)
            time.sleep(plan.seconds(35, 32))
            use = meter.read()
        parser = use.parts.get("dag-processor", 0.0) / use.elapsed
        yield _case("growth_files", total), Measurement([parser], uses=[use])


def _case(group: str, number: int) -> str:
    """Return a case's name, as the targets have it: 20k waiting, 1m rows, but 1000 runs."""
    return f"{group}_{number if group in _PLAIN else _short(number)}"


def _short(number: int) -> str:
    for size, letter in ((1_000_000, "m"), (1_000, "k")):
        if number and number % size == 0:
            return f"{number // size}{letter}"
    return str(number)


_MEASURES = {
    "growth_waiting": (_waiting, [total for total, _ in _WAITING], "waiting batch tasks", "s"),
    "growth_runs": (_running, list(_RUNNING), "running DagRuns", "s"),
    "growth_files": (_files, list(_FILES), "DAG files, CPU of the DAG processor", CORES),
    # the last: what it puts into the database stays there
    "growth_db": (_old, list(_OLD), "old task instances in the database", "s"),
}

GROUPS = tuple(
    Group(
        name,
        tuple(Case(_case(name, n), f"{n:,} {words}", unit) for n in sizes),
        measure,
        rounds=1,
    )
    for name, (measure, sizes, words, unit) in _MEASURES.items()
)
