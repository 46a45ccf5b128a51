"""The benchmark's arithmetic: percentiles, ratios, stages, work done in a window, CPU."""

from __future__ import annotations

import math
import statistics
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks import cpu, figures, stages, work
from tests.benchmarks.cases import talk
from tests.benchmarks.cases.talk import upstream
from tests.benchmarks.cpu import CpuUse
from tests.benchmarks.plan import Plan
from tests.benchmarks.stages import RunTimes, StepTimes

SAMPLES = st.lists(st.floats(0, 1e6), min_size=1)


@given(SAMPLES)
def test_percentiles_lie_among_the_samples(samples: list[float]) -> None:
    p50, p95 = (figures.percentile(samples, percent) for percent in (50, 95))
    assert min(samples) <= p50 <= p95 * (1 + 1e-9)
    assert p95 <= max(samples) * (1 + 1e-9)
    assert figures.summary(samples)["max"] == round(max(samples), 4)


@given(st.lists(st.floats(0, 1e6), min_size=2))
def test_percentiles_are_those_of_the_standard_library(samples: list[float]) -> None:
    expected = statistics.quantiles(samples, n=100, method="inclusive")
    for percent in (5, 50, 95):
        assert figures.percentile(samples, percent) == pytest.approx(expected[percent - 1])


def test_no_samples_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="expected samples"):
        figures.percentile([], 50)


def test_a_ratio_above_one_is_better_whatever_the_unit() -> None:
    assert figures.ratio([8.0], [0.5], higher_is_better=False) == 16
    assert figures.ratio([8.0], [16.0], higher_is_better=True) == 2
    assert figures.ratio([8.0], [0.0], higher_is_better=False) is None


def test_what_is_no_number_is_no_sample() -> None:
    assert figures.summary([math.nan, 2.0]) == {"n": 1, "p50": 2.0, "p95": 2.0, "max": 2.0}
    assert figures.summary([math.nan]) == {"n": 0, "p50": None, "p95": None, "max": None}
    assert stages.merge([{"event to run": [math.nan]}, {"start to end": [1.0, math.inf]}]) == {
        "start to end": [1.0]
    }


def chain_of(*steps: tuple[float, float, float, float]) -> RunTimes:
    made = tuple(StepTimes(f"step{n}", *times) for n, times in enumerate(steps))
    return RunTimes(called=100.0, created=100.25, end=110.0, state="success", steps=made)


def test_the_stages_of_a_chain() -> None:
    run = chain_of((101, 101.5, 102, 104), (105, 105.25, 106, 109))
    assert stages.of_chain(run) == {
        "event to run": [0.25],
        "run to scheduled": [0.75],
        "scheduled to queued": [0.5, 0.25],
        "queued to start": [0.5, 0.75],
        "start to end": [2, 3],
        "end to next scheduled": [1],
        "last end to run end": [1],
    }
    assert run.seconds == 10
    assert run.first_start == 2


@given(st.lists(st.floats(0.001, 100), min_size=4, max_size=40).filter(lambda x: len(x) % 4 == 0))
def test_the_stages_of_a_chain_add_up_to_the_run(pauses: list[float]) -> None:
    moment, moments = 100.25, []
    for pause in pauses:
        moment += pause
        moments.append(moment)
    made = [StepTimes(f"s{n}", *moments[n : n + 4]) for n in range(0, len(moments), 4)]
    # in any order: the database does not promise one
    run = RunTimes(100.0, 100.25, moment + 1, "success", tuple(reversed(made)))
    total = sum(sum(values) for values in stages.of_chain(run).values())
    assert total == pytest.approx(run.seconds)


def test_stages_of_several_runs_are_shown_in_order() -> None:
    merged = stages.merge(
        ({"decision event": [3.0]}, {"event to run": [1.0]}, {"event to run": [2.0]})
    )
    assert list(merged.items()) == [("event to run", [1.0, 2.0]), ("decision event", [3.0])]


def test_a_gap_begins_with_the_last_of_those_it_waits_for() -> None:
    steps = (
        StepTimes("layer00_0", 0, 0, 0, 10),
        StepTimes("layer01_0", 0, 0, 11, 20),
        StepTimes("layer01_1", 0, 0, 12, 30),
        StepTimes("layer02_0", 0, 0, 30.5, 31),
    )
    run = RunTimes(0, 0, 40, "success", steps)
    assert upstream(run)["layer02_0"] == {"layer01_0", "layer01_1"}
    assert stages.gaps(run, upstream(run)) == [1, 2, 0.5]


def test_runs_that_failed_or_were_late_count_as_late(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (StepTimes("layer00_0", 0, 0, 0, 10), StepTimes("layer01_0", 0, 0, 12, 20))
    ends = {"a": "success", "b": "failed", "c": "running"}
    names = iter(ends)

    class Metadata:
        def ended(self, _dag_id: str, run_id: str) -> bool:
            return ends[run_id] != "running"

        def run(self, _dag_id: str, run_id: str, called: float) -> RunTimes:
            return RunTimes(called, 0, 30, ends[run_id], steps)

    class Busy:
        name, folder, metadata = "stock", Path(), Metadata()
        api = SimpleNamespace(trigger=lambda _dag_id: (next(names), 0.0))

    monkeypatch.setattr(talk, "_RUNS", 3)
    monkeypatch.setattr(talk, "_STAGGER", 0)
    monkeypatch.setattr(talk, "_DEADLINE", 0.0)
    monkeypatch.setattr(talk.dag_files, "present", lambda *_: nullcontext())
    meter = SimpleNamespace(read=lambda: CpuUse(1, {}, 0, 0))
    monkeypatch.setattr(talk, "CpuMeter", lambda _folder: meter)
    (group,) = talk.GROUPS
    found = dict(group.measure(Busy(), Plan(False, print)))  # type: ignore[arg-type]
    assert found["talk_gap"].samples == [2, 2]
    assert found["talk_end_to_end"].samples == [30, 0, 0]
    (note,) = found["talk_end_to_end"].notes
    assert note.startswith("2 of 3 runs failed or had not ended after 0 s")


def test_a_task_counts_by_its_part_of_the_window() -> None:
    tasks = [(0.0, 10.0), (5.0, 15.0), (12.0, 22.0), (30.0, 40.0)]
    assert work.tasks_done(tasks, 10, 20, length=10) == pytest.approx(0 + 0.5 + 0.8)
    # one that still runs counts as if it took as long as it is meant to
    assert work.tasks_done([(15.0, None)], 10, 20, length=10) == pytest.approx(0.5)
    assert work.tasks_done([(12.0, 12.0)], 10, 20, length=0) == pytest.approx(1)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 50)), max_size=20),
    st.floats(1, 99),
)
def test_windows_that_join_share_the_work(tasks: list[tuple[float, float]], cut: float) -> None:
    times = [(begin, begin + length) for begin, length in tasks]
    parts = [work.tasks_done(times, a, b, 0) for a, b in ((0, cut), (cut, 200))]
    assert sum(parts) == pytest.approx(len(times))


def test_cpu_of_several_turns_adds_up() -> None:
    found = cpu.add(
        [CpuUse(10, {"a": 1.0, "b": 2.0}, 0.5, 0.1), CpuUse(5, {"b": 1.0, "c": 4.0}, 0.5, 0.2)]
    )
    assert found.parts == {"a": 1.0, "b": 3.0, "c": 4.0}
    assert (found.elapsed, found.stack, found.foreign) == (15, 8.0, 1.0)
    assert found.own == pytest.approx(0.3)
