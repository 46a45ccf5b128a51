"""When a worker takes a DAG file in that its tasks parse."""

from __future__ import annotations

import os
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from workers.dag_costs import Costs, Meter

SECONDS = st.floats(min_value=1e-4, max_value=10)


def test_the_first_file_is_taken_in_at_once() -> None:
    costs = Costs()
    costs.pay("a.py", 0.01)
    assert costs.is_due("a.py")


@given(overhead=SECONDS, parse=SECONDS, tasks=st.integers(1, 500))
def test_what_is_spent_is_at_most_twice_the_cheaper_way(
    overhead: float, parse: float, tasks: int
) -> None:
    costs = Costs()
    price = overhead + 2 * parse
    costs.pay("other.py", parse)
    costs.took_in("other.py", price)
    spent, kept = 0.0, False
    for _ in range(tasks):
        if kept:
            continue
        spent += parse
        costs.pay("a.py", parse)
        if costs.is_due("a.py"):
            costs.took_in("a.py", price)
            spent += price
            kept = True
    # Whoever knew what comes would parse each time, or take it in after the first parse.
    cheaper = min(tasks * parse, parse + price)
    assert spent <= 2 * cheaper + parse + 1e-6


@given(parse=st.floats(min_value=1, max_value=10))
def test_a_file_that_takes_long_is_taken_in_after_few_tasks(parse: float) -> None:
    costs = Costs()
    costs.pay("small.py", 0.01)
    costs.took_in("small.py", 0.2)
    tasks = 0
    while not tasks or not costs.is_due("slow.py"):
        costs.pay("slow.py", parse)
        tasks += 1
    assert tasks <= 3


def test_files_are_counted_by_themselves() -> None:
    costs = Costs()
    costs.pay("a.py", 0.01)
    costs.took_in("a.py", 0.2)
    for number in range(200):
        costs.pay(f"cron_{number}.py", 0.01)
        assert not costs.is_due(f"cron_{number}.py")


def in_a_fork(do: Callable[[], None]) -> None:
    """Do something in a process that is forked from this one, and await its end."""
    pid = os.fork()
    if not pid:
        try:
            do()
            os._exit(0)
        finally:
            # else it would go on as a second pytest
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_forked_process_tells_the_one_that_it_came_from() -> None:
    meter = Meter()

    def add() -> None:
        meter.add(1.5)
        meter.add(0.25)

    in_a_fork(add)
    assert meter.take() == 1.75
    assert meter.take() == 0


def test_processes_of_one_parent_do_not_share_it_once_they_part() -> None:
    meter = Meter()

    def part() -> None:
        meter.renew()
        meter.add(1)

    in_a_fork(part)
    assert meter.take() == 0
