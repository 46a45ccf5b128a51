"""The load of the talk "From Zero to Airflow": 20 runs of a DAG of 40 tasks, beside 200 jobs."""

from __future__ import annotations

import time
from contextlib import suppress
from statistics import fmean

from tests.benchmarks import dag_files, stages
from tests.benchmarks.cases.cron import DAGS, EACH_MINUTE
from tests.benchmarks.cpu import CpuMeter
from tests.benchmarks.errors import BenchError, TooLateError
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import Case, Cost, Group, Plan, Results
from tests.benchmarks.stack import WIDE, Stack, await_true
from tests.benchmarks.stages import RunTimes

_DAG = "talk"
_RUNS = 20
#: Seconds between the starts of two runs.
_STAGGER = 2
_DEADLINE = 240.0


def upstream(run: RunTimes) -> dict[str, frozenset[str]]:
    """Return what each step depends on: all of the layer before, by the steps' names."""
    layers: dict[int, set[str]] = {}
    for step in run.steps:
        layers.setdefault(_layer(step.task_id), set()).add(step.task_id)
    return {step.task_id: frozenset(layers.get(_layer(step.task_id) - 1, ())) for step in run.steps}


def _layer(task_id: str) -> int:
    return int(task_id.removeprefix("layer").partition("_")[0])


def _measure(stack: Stack, plan: Plan) -> Results:
    count = _RUNS if not plan.quick else 8
    with dag_files.present(stack, DAGS, EACH_MINUTE):
        meter = CpuMeter(stack.folder)
        started = []
        for _ in range(count):
            started.append(stack.api.trigger(_DAG))
            time.sleep(_STAGGER)
        over = _ended(stack, started)
        use = meter.read()
        found = [stack.metadata.run(_DAG, run_id, called) for run_id, called in over]
    gaps = [gap for run in found for gap in stages.gaps(run, upstream(run))]
    if not gaps:
        raise BenchError(f"expected runs of {stack.name} to get on, found none of {count} that did")
    notes = [f"mean gap of {stack.name}: {fmean(gaps):.3f} s"]
    times = [run.seconds for run in found if run.state == "success"]
    if lost := count - len(times):
        # without them the figure would be better the more of them fail
        notes.append(
            f"{lost} of {count} runs failed or had not ended after {_DEADLINE:.0f} s; their time "
            "from end to end counts as that long"
        )
        times += [_DEADLINE] * lost
    yield "talk_gap", Measurement(gaps, uses=[use], notes=notes)
    yield "talk_end_to_end", Measurement(times, notes=notes[1:])


def _ended(stack: Stack, started: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return the runs that have ended, all of them unless they take too long."""

    def ended() -> list[tuple[str, float]]:
        return [run for run in started if stack.metadata.ended(_DAG, run[0])]

    with suppress(TooLateError):  # what has not ended counts as that long
        await_true(lambda: len(ended()) == len(started), _DEADLINE, "the runs to end")
    return ended()


GROUPS = (
    Group(
        "talk",
        (
            Case("talk_gap", "The talk's load: from the last upstream task's end to a start"),
            Case("talk_end_to_end", "The talk's load: a run of 40 tasks, 12 deep"),
        ),
        _measure,
        Cost(stock=440, airlane=268),
        rounds=1,
        warm=False,
        layout=WIDE,
    ),
)
