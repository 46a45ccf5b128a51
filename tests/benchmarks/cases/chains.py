"""Chains of tasks on a stack that does nothing else."""

from __future__ import annotations

from functools import partial

from tests.benchmarks import runs
from tests.benchmarks.plan import Case, Cost, Count, Group, Plan, Results
from tests.benchmarks.stack import Stack


def _measure(stack: Stack, plan: Plan, *, case: str, dag_id: str, count: Count) -> Results:
    # the turn began with a run of chain6 that does not count; others do without one of their own,
    # a minute for stock, but where the first run is the one that reads libraries from the disk
    yield case, runs.chain(stack, plan, dag_id, count, warm=dag_id == "imports")


def _group(
    case: str,
    title: str,
    dag_id: str,
    count: Count,
    cost: Cost,
    *,
    quick: int = 0,
    rounds: int = 2,
) -> Group:
    measure = partial(_measure, case=case, dag_id=dag_id, count=count)
    # in a long chain the little that a rest makes late is lost
    warm = dag_id in {"chain6", "imports"}
    return Group(case, (Case(case, title),), measure, cost, rounds=rounds, quick=quick, warm=warm)


GROUPS = (
    _group(
        "chain6_idle",
        "6 trivial tasks in a row, idle",
        "chain6",
        Count(stock=5, airlane=20, quick_stock=3, quick_airlane=8),
        Cost(stock=46, airlane=22),
        quick=2,
    ),
    _group(
        "chain40_idle",
        "40 light tasks in a row, idle",
        "chain40",
        Count(stock=1, airlane=5, quick_stock=1, quick_airlane=3),
        Cost(stock=45, airlane=24),
    ),
    _group(
        "heavy10_idle",
        "10 tasks of pure CPU work in a row, idle",
        "heavy10",
        Count(stock=2, airlane=5, quick_stock=1, quick_airlane=3),
        Cost(stock=24, airlane=25),
        rounds=1,
    ),
    _group(
        "heavy_import",
        "A task that needs pandas and scikit-learn, idle",
        "imports",
        Count(stock=3, airlane=10, quick_stock=2, quick_airlane=5),
        Cost(stock=18, airlane=9),
        rounds=1,
    ),
)
