"""Urgent chains beside 200 small jobs that all start with each minute."""

from __future__ import annotations

import time

from tests.benchmarks import dag_files, runs, work
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import TASKS_PER_SECOND, Case, Count, Group, Plan, Results
from tests.benchmarks.stack import Stack

#: The jobs.
DAGS = dag_files.names("cron", 200)
EACH_MINUTE = "* * * * *"
_COUNT = Count(stock=5, airlane=40, quick_stock=2, quick_airlane=15, seconds=110)
_LIMIT = 240


def await_minute() -> float:
    """Await the next full minute and return it (seconds since the epoch)."""
    now = time.time()
    begin = now - now % 60 + 60
    time.sleep(begin - now)
    return begin


def _measure(stack: Stack, plan: Plan) -> Results:
    with dag_files.present(stack, DAGS, EACH_MINUTE):
        # the first minutes' runs came while the files were still being read
        begin = await_minute()
        # whole minutes: the jobs come at their beginning
        end = begin + 60
        time.sleep(end - time.time())
        alone = Measurement([work.rate(stack, DAGS, begin, end, 0)])
        chains = runs.chain(stack, plan, "chain6", _COUNT, warm=False, limit=_LIMIT)
        begin, end = end, await_minute()
        beside = Measurement([work.rate(stack, DAGS, begin, end, 0)])
    yield "chain6_cron200", chains
    yield "flood_throughput_cron200", beside
    yield "flood_throughput_alone_cron200", alone


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
            ),
        ),
        _measure,
        rounds=1,
    ),
)
