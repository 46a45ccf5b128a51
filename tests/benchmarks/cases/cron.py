"""Urgent chains beside 200 small jobs that all start with each minute."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial

from tests.benchmarks import dag_files, runs, work
from tests.benchmarks.cases.floods import beside_case, beside_name, idle_beside
from tests.benchmarks.errors import TooLateError
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import TASKS_PER_SECOND, Case, Cost, Count, Group, Plan, Results
from tests.benchmarks.stack import Stack, await_true

#: The jobs.
DAGS = dag_files.names("cron", 200)
EACH_MINUTE = "* * * * *"
_COUNT = Count(stock=2, airlane=20, quick_stock=2, quick_airlane=15, seconds=55)
#: Before the jobs only: after them, files are read anew for a while.
_IDLE_COUNT = Count(stock=0, airlane=14, quick_airlane=6, seconds=40)
_LIMIT = 150
#: Seconds for each job to have run once.
_READY = 120
#: As in `floods`: what urgent work takes from the jobs is a question to airlane.
_ALONE = ("airlane",)


def _have_run(stack: Stack, since: float) -> bool:
    """Say whether each job has run since a moment; the talk's load left older runs."""
    query = (
        "SELECT count(DISTINCT dag_id) FROM dag_run WHERE dag_id = ANY(%s) "
        "AND state = 'success' AND start_date > to_timestamp(%s)"
    )
    return stack.metadata.number(query, (DAGS, since)) == len(DAGS)


def _measure(stack: Stack, plan: Plan) -> Results:
    if idle := idle_beside(stack, plan, _IDLE_COUNT):
        yield beside_name("cron200"), idle
    came = time.time()
    with dag_files.present(stack, DAGS, EACH_MINUTE):
        # the first came while the files were still being read
        with suppress(TooLateError):  # a stack that does not keep up is measured all the same
            await_true(partial(_have_run, stack, came), _READY, "each job to have run once")
        # windows of whole minutes: the jobs come at the beginning of each
        begin = time.time()
        if stack.name in _ALONE:
            time.sleep(60)
            rate = work.rate(stack, DAGS, begin, begin + 60, 0)
            yield "flood_throughput_alone_cron200", Measurement([rate])
            begin += 60
        chains = runs.chain(stack, plan, "chain6", _COUNT, warm=False, limit=_LIMIT)
        now = time.time()
        end = now + (begin - now) % 60
        time.sleep(end - now)
        beside = Measurement([work.rate(stack, DAGS, begin, end, 0)])
        # of all tasks: each of the jobs has one
        chains.tasks += round(beside.samples[0] * (now - begin))
    yield "chain6_cron200", chains
    yield "flood_throughput_cron200", beside


GROUPS = (
    Group(
        "chain6_cron200",
        (
            Case("chain6_cron200", "6 trivial tasks in a row, beside 200 jobs each minute"),
            Case(
                "flood_throughput_cron200",
                "200 jobs each minute: throughput beside urgent work",
                TASKS_PER_SECOND,
                higher_is_better=True,
            ),
            Case(
                "flood_throughput_alone_cron200",
                "200 jobs each minute: throughput alone",
                TASKS_PER_SECOND,
                higher_is_better=True,
                stacks=_ALONE,
            ),
            beside_case("cron200", "200 jobs each minute", "before"),
        ),
        _measure,
        Cost(stock=124, airlane=255),
        rounds=1,
        warm=False,
    ),
)
