"""Urgent chains as what waits, runs, is kept or must be read grows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from tests.benchmarks import dag_files, history, runs
from tests.benchmarks.cpu import CpuMeter
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import CORES, SECONDS, STACKS, Case, Cost, Count, Group, Plan, Results
from tests.benchmarks.stack import Stack, await_true

_BACKLOG, _LONG = "backlog", "long_runs"
#: Tasks of one run of `dags/backlog.py`.
_TASKS = 1_000
#: Seconds for a backlog to keep the slots busy.
_DEADLINE = 240
#: Seconds after which slots that are busy mean a load that flows.
_SETTLE = 8
#: Seconds after which a chain beside a backlog is given up; it then counts as that long.
_LIMIT = 90
#: The sizes between: they show a line.
_COUNT = Count(stock=1, airlane=8, quick_stock=1, quick_airlane=3, seconds=60)
#: None and the most: they are judged by their p95.
_ENDS = Count(stock=1, airlane=16, quick_stock=1, quick_airlane=5, seconds=60)


_Cases = dict[int, Case]
#: Groups whose sizes are written out: 20k waiting and 1m rows, but 1000 runs.
_PLAIN = ("growth_runs", "growth_files")


def _short(number: int) -> str:
    for size, letter in ((1_000_000, "m"), (1_000, "k")):
        if number and number % size == 0:
            return f"{number // size}{letter}"
    return str(number)


def _cases(
    group: str, title: str, sizes: tuple[int, ...], *, unit: str = SECONDS, stock: int | None = None
) -> _Cases:
    """Return a case for each size, with stock at one of them: the one that the targets name."""
    return {
        size: Case(
            f"{group}_{size if group in _PLAIN else _short(size)}",
            title.format(f"{size:,}"),
            unit,
            stacks=STACKS if size == stock else ("airlane",),
        )
        for size in sizes
    }


_CHAIN = "6 trivial tasks in a row, "
_WAITING = _cases(
    "growth_waiting",
    f"{_CHAIN}{{}} waiting batch tasks",
    (0, 1_000, 5_000, 20_000),
    stock=20_000,
)
_RUNNING = _cases("growth_runs", f"{_CHAIN}{{}} running DagRuns", (0, 10, 100, 1_000), stock=1_000)
_OLD = _cases(
    "growth_db",
    f"{_CHAIN}{{}} old task instances in the database",
    (0, 100_000, 1_000_000),
    stock=1_000_000,
)
_FILES = _cases(
    "growth_files", "CPU of the DAG processor, {} DAG files", (50, 200, 500), unit=CORES
)


def _steps(cases: _Cases, stack: Stack) -> Iterator[tuple[int, str]]:
    """Yield the sizes at which a stack is measured, with the cases' names."""
    for size, case in cases.items():
        if stack.name in case.stacks:
            yield size, case.name


def _count(cases: _Cases, size: int) -> Count:
    return _ENDS if size in (0, max(cases)) else _COUNT


def _ensure_runs(stack: Stack, dag_id: str, total: int, there: int) -> None:
    """Have so many runs of a DAG, and await that its tasks keep the slots busy."""
    if total and not there:
        stack.api.trigger(dag_id)
        there = 1
    if total > there:
        history.repeat(stack.metadata, dag_id, total - there)
    busy = "SELECT count(*) FROM task_instance WHERE dag_id = %s AND state = 'running'"
    if total:
        await_true(
            lambda: stack.metadata.number(busy, (dag_id,)) >= 8,
            _DEADLINE,
            f"{total} runs of {dag_id} to keep {stack.name} busy",
        )
        # The scheduler has looked at what is new: a part of no case, and different each time.
        new = "SELECT count(*) FROM dag_run WHERE dag_id = %s AND last_scheduling_decision IS NULL"
        await_true(
            lambda: stack.metadata.number(new, (dag_id,)) == 0,
            _DEADLINE,
            f"{stack.name} to have looked at {total} new runs of {dag_id}",
        )
        time.sleep(_SETTLE)


def _beside(stack: Stack, plan: Plan, cases: _Cases, dag_id: str, tasks: int) -> Results:
    there = 0
    for total, name in _steps(cases, stack):
        _ensure_runs(stack, dag_id, total // tasks, there)
        there = total // tasks
        count = _count(cases, total)
        yield name, runs.chain(stack, plan, "chain6", count, warm=not total, limit=_LIMIT)
    stack.clear()


def _waiting(stack: Stack, plan: Plan) -> Results:
    return _beside(stack, plan, _WAITING, _BACKLOG, _TASKS)


def _running(stack: Stack, plan: Plan) -> Results:
    return _beside(stack, plan, _RUNNING, _LONG, 1)


def _old(stack: Stack, plan: Plan) -> Results:
    there = 0
    for total, name in _steps(_OLD, stack):
        if total > there:
            history.add(stack.metadata, "chain6", total - there)
            there = total
        count = _count(_OLD, total)
        yield name, runs.chain(stack, plan, "chain6", count, warm=False)


def _have_been_read(stack: Stack, since: float, total: int) -> bool:
    """Say whether so many DAG files have been read since a moment."""
    query = (
        "SELECT count(*) FROM dag WHERE dag_id LIKE 'file\\_%%' "
        "AND last_parsed_time > to_timestamp(%s)"
    )
    return stack.metadata.number(query, (since,)) >= total


def _files(stack: Stack, plan: Plan) -> Results:
    with ExitStack() as there:
        before = 0
        for total, name in _steps(_FILES, stack):
            more = dag_files.names("file", total)[before:]
            came = time.time()
            there.enter_context(dag_files.present(stack, more, None))
            before = total
            # a DAG processor that has started reads those that were there anew, too
            await_true(partial(_have_been_read, stack, came, total), _DEADLINE, "all to be read")
            time.sleep(5)  # what is left of the first reading
            meter = CpuMeter(stack.folder)
            time.sleep(plan.seconds(15, 10))
            use = meter.read()
            parser = use.parts.get("dag-processor", 0.0) / use.elapsed
            yield name, Measurement([parser], uses=[use])


GROUPS = tuple(
    Group(name, tuple(cases.values()), measure, cost, rounds=1, warm=name == "growth_db")
    for name, cases, measure, cost in (
        ("growth_waiting", _WAITING, _waiting, Cost(stock=99, airlane=98)),
        ("growth_runs", _RUNNING, _running, Cost(stock=103, airlane=88)),
        # the last chains: what it puts into the database stays there
        ("growth_db", _OLD, _old, Cost(stock=53, airlane=90)),
        # after all chains: when the files go, the DAG processor reads what is left anew
        ("growth_files", _FILES, _files, Cost(stock=0, airlane=159)),
    )
)
