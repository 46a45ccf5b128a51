"""Runs that are started and awaited, one after the other or as a flood."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks import stages
from tests.benchmarks.cpu import CpuMeter
from tests.benchmarks.errors import BenchError, TooLateError
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import Count, Plan
from tests.benchmarks.stack import Stack, await_true
from tests.benchmarks.stages import RunTimes

#: Seconds between looks at a run. Its times come from the database, so that this adds nothing to
#: them; a look costs a fraction of a millisecond.
_LOOK = 0.03
#: Seconds that an idle stack may take for any one run.
IDLE_LIMIT = 300


def run(
    stack: Stack, dag_id: str, limit: float = IDLE_LIMIT, conf: dict[str, Any] | None = None
) -> RunTimes:
    """Start a run, await its end and return its times."""
    run_id, called = stack.api.trigger(dag_id, conf)
    what = f"{stack.name}'s run of {dag_id} to end"
    await_true(lambda: stack.metadata.ended(dag_id, run_id), limit, what, _LOOK)
    found = stack.metadata.run(dag_id, run_id, called)
    if found.state != "success":
        raise BenchError(f"expected {dag_id} {run_id} of {stack.name} to succeed, found it failed")
    return found


def chain(
    stack: Stack,
    plan: Plan,
    dag_id: str,
    count: Count,
    *,
    warm: bool = True,
    limit: float = IDLE_LIMIT,
    every: float = 0.0,
    still: Callable[[], bool] = lambda: True,
) -> Measurement:
    """Run a chain several times, one run after the other; samples are call to end of run.

    Between two runs passes a random part of a second: a run that ends with a loop of the
    scheduler would let the next begin with one, always at the same place of its pause.

    Parameters
    ----------
    warm
        Begin with a run that does not count.
    limit
        Seconds after which a run is given up; it then counts with these seconds, and no further
        one is started.
    every
        Seconds between the starts of two runs, at least, so that a faster stack is not given more
        to do.
    still
        Says after each run whether what is measured was still so; the run counts only then, and
        is the last one otherwise.
    """
    if warm:
        run(stack, dag_id, limit)
    found = Measurement()
    tasks = 0
    meter = CpuMeter(stack.folder)
    end = time.monotonic() + count.seconds
    due = 0.0
    for _ in range(plan.samples(stack, count)):
        time.sleep(max(0.0, due - time.monotonic()) + plan.random.uniform(0, 1))
        due = time.monotonic() + every
        try:
            times = run(stack, dag_id, limit)
        except TooLateError:
            found.samples.append(limit)
            found.notes.append(f"a run was given up after {limit:.0f} s and counts as that long")
            stack.metadata.fail_runs(only=dag_id)
            break
        if not still():
            found.notes.append("the load was over before all samples were taken")
            break
        found.samples.append(times.seconds)
        found.stages = stages.merge((found.stages, stages.of_chain(times)))
        tasks += len(times.steps)
        if time.monotonic() > end:
            break
    found.uses.append(meter.read())
    found.tasks = tasks
    return found
