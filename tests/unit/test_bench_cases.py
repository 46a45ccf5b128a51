"""Floods, jobs and growth on a stack that does nothing: what each yields, of which stack."""

from __future__ import annotations

import json
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tests.benchmarks import api, runs
from tests.benchmarks.cases import chains, cron, floods, growth, lent, throughput
from tests.benchmarks.cpu import CpuUse
from tests.benchmarks.errors import ApiError
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import STACKS, Count, Group, Plan

#: The tests below have another one in its place.
CHAIN = runs.chain
GROUPS = (*chains.GROUPS, *throughput.GROUPS[1:], *floods.GROUPS, *cron.GROUPS, *growth.GROUPS)


def number(query: str, *_: object) -> int:
    """Return what is awaited: as many tasks, files or jobs as there are, busy slots."""
    if "IS NULL" in query:
        return 0
    return 5_000 if "'work'" in query or "file" in query else len(cron.DAGS)


def stack(name: str) -> SimpleNamespace:
    metadata = SimpleNamespace(
        ended_tasks=lambda *_: 1_000,
        waiting_tasks=lambda *_: 1_000,
        number=number,
        rows=lambda *_: [(0.0, 1.0)],
    )
    return SimpleNamespace(
        name=name,
        folder=Path(),
        metadata=metadata,
        api=SimpleNamespace(trigger=lambda *_: ("run", 0.0)),
        clear=lambda: None,
        await_idle=lambda: None,
    )


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1000.0)

    def passes(seconds: float) -> None:
        assert seconds >= 0
        clock.now += seconds

    own_time = SimpleNamespace(sleep=passes, time=lambda: clock.now)
    for module in (cron, floods, growth, throughput):
        monkeypatch.setattr(module, "time", own_time)
    monkeypatch.setattr(floods.flow, "await_steady", lambda *_: [])
    for module in (growth, throughput):
        meter = SimpleNamespace(read=lambda: CpuUse(1, {"dag-processor": 1.0}, 0, 0))
        monkeypatch.setattr(module, "CpuMeter", lambda _folder, meter=meter: meter)

    def chain(*_: object, **__: object) -> Measurement:
        passes(5)
        return Measurement([1.0])

    for module in (chains, cron, floods, growth):
        monkeypatch.setattr(module.runs, "chain", chain)
    monkeypatch.setattr(growth.history, "repeat", lambda *_: None)
    monkeypatch.setattr(growth.history, "add", lambda *_: None)
    for module in (cron, growth):
        monkeypatch.setattr(module.dag_files, "present", lambda *_: nullcontext())


@pytest.mark.parametrize(
    ("group", "name"),
    [
        pytest.param(group, name, id=f"{group.name}-{name}")
        for group in GROUPS
        for name in STACKS
        if name in group.stacks
    ],
)
def test_a_group_yields_the_cases_that_it_promises(group: Group, name: str) -> None:
    found = [case for case, measured in group.measure(stack(name), Plan(False, print))]  # type: ignore[arg-type]
    assert len(found) == len(set(found))
    assert set(found) == {case.name for case in group.cases if name in case.stacks}


def test_jobs_are_counted_in_whole_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    windows: list[float] = []

    def rate(_stack: object, _dags: object, start: float, end: float, _length: float) -> float:
        windows.append(end - start)
        return 1.0

    monkeypatch.setattr(cron.work, "rate", rate)
    dict(cron.GROUPS[0].measure(stack("airlane"), Plan(False, print)))  # type: ignore[arg-type]
    assert windows == [60, 60]


def test_a_call_that_the_server_could_not_take_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [500, 409]
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content)["dag_run_id"])
        return httpx.Response(answers[len(seen) - 1])

    monkeypatch.setattr(api, "_PAUSE", 0)
    client = api.Api("http://127.0.0.1:1", "token")
    client._http = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://h")
    run_id, _called = client.trigger("chain6")
    # the same name: a run that was made though the answer was lost is not made twice
    assert seen == [run_id, run_id]


def test_a_call_that_is_wrong_is_not_made_again() -> None:
    client = api.Api("http://127.0.0.1:1", "token")
    refuse = httpx.MockTransport(lambda _request: httpx.Response(404, text="no such DAG"))
    client._http = httpx.Client(transport=refuse, base_url="http://h")
    with pytest.raises(ApiError, match="404 no such DAG"):
        client.trigger("chain7")


@pytest.mark.parametrize("flood", floods.GROUPS, ids=lambda group: group.name)
def test_a_flood_is_measured_beside_urgent_work_first_then_alone_and_idle_on_both_sides(
    flood: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def chain(*_: object, **options: object) -> Measurement:
        done.append("chains beside it" if "still" in options else "idle chains")
        return Measurement([1.0])

    def rate(*_: object) -> float:
        done.append("its pace")
        return 1.0

    monkeypatch.setattr(floods.runs, "chain", chain)
    monkeypatch.setattr(floods.work, "rate", rate)
    monkeypatch.setattr(floods.flow, "await_steady", lambda *_: done.append("flows") or ["odd"])
    one = stack("airlane")
    one.clear = lambda: done.append("cleared")
    found = dict(flood.measure(one, Plan(False, print)))  # type: ignore[arg-type]
    assert done == ["idle chains", "flows", "chains beside it", "its pace", "its pace", "cleared",
                    "idle chains"]  # fmt: skip
    (idle,) = (name for name in found if name.startswith("chain6_idle_beside_"))
    assert len(found[idle].samples) == 2
    assert all(found[name].notes == ["odd"] for name in found if name != idle)


@pytest.mark.parametrize(("every", "takes"), [(0.0, 0.2), (1.5, 0.2), (1.5, 4.0)])
def test_a_faster_stack_is_not_given_more_chains(
    monkeypatch: pytest.MonkeyPatch, every: float, takes: float
) -> None:
    clock = SimpleNamespace(now=50.0)
    begun: list[float] = []

    def passes(seconds: float) -> None:
        assert seconds >= 0
        clock.now += seconds

    def run(*_: object) -> SimpleNamespace:
        begun.append(clock.now)
        clock.now += takes
        return SimpleNamespace(seconds=takes, steps=[])

    monkeypatch.setattr(runs, "time", SimpleNamespace(sleep=passes, monotonic=lambda: clock.now))
    monkeypatch.setattr(runs, "run", run)
    monkeypatch.setattr(runs.stages, "of_chain", lambda _: {})
    meter = SimpleNamespace(read=lambda: CpuUse(1, {}, 0, 0))
    monkeypatch.setattr(runs, "CpuMeter", lambda _: meter)
    count = Count(stock=1, airlane=20, seconds=1000)
    CHAIN(stack("airlane"), Plan(False, print), "chain6", count, warm=False, every=every)  # type: ignore[arg-type]
    between = [later - earlier for earlier, later in pairwise(begun)]
    assert len(begun) == 20
    assert all(max(every, takes) <= seconds <= max(every, takes) + 1 for seconds in between)


def test_lent_capacity_is_measured_with_and_without_on_a_stack_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    one = stack("airlane")
    one.up = lambda layout: done.append(layout.name)
    one.down = lambda: done.append("down")
    one.clear = lambda: done.append("cleared")
    monkeypatch.setattr(lent, "run", lambda *_: None)
    monkeypatch.setattr(lent, "_together", lambda *_: Measurement([1.0]))
    (group,) = lent.GROUPS
    found = [case for case, _ in group.measure(one, Plan(False, print))]  # type: ignore[arg-type]
    assert sorted(found) == sorted(case.name for case in group.cases)
    assert done == ["down", "standard", "cleared", "down", "unlent", "cleared"]
