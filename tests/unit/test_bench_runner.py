"""The order of things, what a killed benchmark leaves behind, and how a stack rests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from tests.benchmarks import estimate, runner
from tests.benchmarks.errors import BenchError
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.options import Options
from tests.benchmarks.peers import results as peers
from tests.benchmarks.peers.catalogue import PEERS
from tests.benchmarks.peers.chain import CASES
from tests.benchmarks.plan import Case, Cost, Group, Plan, Results
from tests.benchmarks.runner import Runner
from tests.benchmarks.stack import Layout, Stack
from tests.benchmarks.stock import StockStack


@pytest.fixture
def part(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries the marker of a stack in `tmp_path`/airlane-bench-x/stock."""
    marker = {"AIRLANE_HOME": str(tmp_path / "airlane-bench-x" / "stock"), "AIRLANE_PART": "part"}
    words = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    with subprocess.Popen(words, env=os.environ | marker, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_what_a_killed_benchmark_left_is_ended(
    tmp_path: Path, part: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "airlane-bench-x"
    folder.mkdir()
    own = tmp_path / "airlane-bench-y"
    own.mkdir()
    # a process id that no process can have
    (folder / "benchmark.pid").write_text(str(2**22 + 1))
    said: list[str] = []
    runner.end_abandoned(said.append)
    assert not psutil.pid_exists(part.pid)
    assert not folder.exists()
    assert own.exists(), "without a process id it is not known to be abandoned"
    assert len(said) == 1


def test_a_stack_at_rest_stands_still_and_goes_on(
    tmp_path: Path, part: subprocess.Popen[bytes]
) -> None:
    stack: Stack = StockStack(tmp_path / "airlane-bench-x" / "stock", tmp_path, print)
    stack.rest()
    assert psutil.Process(part.pid).status() == psutil.STATUS_STOPPED
    stack.resume()
    assert psutil.Process(part.pid).status() != psutil.STATUS_STOPPED


# --- the order of things, on stacks that do nothing


class FakeStack:
    """Comes up, unless its class says otherwise, and remembers what was done."""

    broken: ClassVar[set[str]] = set()
    done: ClassVar[list[str]] = []

    def __init__(self, folder: Path, _dags: Path, _report: object) -> None:
        self.name = folder.name
        self.layout: Layout | None = None

    def _do(self, what: str) -> None:
        FakeStack.done.append(f"{self.name} {what}")
        if f"{self.name} {what}" in FakeStack.broken:
            raise OSError(f"{self.name} cannot {what}")

    def up(self, layout: Layout) -> None:
        self._do("up")
        self.layout = layout

    def down(self) -> None:
        self.layout = None
        self._do("down")

    def rest(self) -> None:
        return

    def resume(self) -> None:
        return

    def clear(self) -> None:
        self._do("clear")


def group(name: str, error: type[BaseException] | None = None, *, rounds: int = 1) -> Group:
    def measure(stack: FakeStack, plan: Plan) -> Results:
        yield name, Measurement([float(plan.round + 1)])
        if error:
            raise error("found it broken")

    return Group(
        *(name, (Case(name, name),), measure, Cost(60, 60)),  # type: ignore[arg-type]
        rounds=rounds,
        warm=False,
    )


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Runner]:
    monkeypatch.setattr(runner, "_KINDS", dict.fromkeys(("stock", "airlane"), FakeStack))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(FakeStack, "broken", set())
    monkeypatch.setattr(FakeStack, "done", [])

    def make(*groups: Group, **options: object) -> Runner:
        names = tuple(case.name for each in groups for case in each.cases)
        chosen = Options(cases=names, out=tmp_path / "r.json", **options)  # type: ignore[arg-type]
        return Runner(chosen, groups, lambda _line: None)

    return make


def samples(path: Path) -> dict[str, dict[str, list[float]]]:
    cases = json.loads(path.read_text())["cases"]
    return {
        name: {stack: found["samples"] for stack, found in case["details"].items()}
        for name, case in cases.items()
    }


def test_turns_go_stock_airlane_stock_airlane(bench: Callable[..., Runner]) -> None:
    one = bench(group("idle", rounds=2))
    one.run()
    assert samples(one.path) == {"idle": {"stock": [1.0, 2.0], "airlane": [1.0, 2.0]}}
    assert FakeStack.done == ["stock up", "airlane up", "stock down", "airlane down"]
    seconds = json.loads(one.path.read_text())["about"]["seconds"]
    assert {stack: len(each) for stack, each in seconds["idle"].items()} == {
        "stock": 2,
        "airlane": 2,
    }


@pytest.mark.parametrize("error", [BenchError, KeyError, psutil.Error, TypeError])
def test_a_case_that_fails_loses_no_other(
    bench: Callable[..., Runner], error: type[Exception]
) -> None:
    one = bench(group("first"), group("broken", error), group("last"))
    one.run()
    assert samples(one.path)["last"] == {"stock": [1.0], "airlane": [1.0]}
    assert samples(one.path)["broken"] == {"stock": [1.0], "airlane": [1.0]}
    assert [e.split(":")[0] for e in one.errors] == ["broken, stock", "broken, airlane"]
    assert json.loads(one.path.read_text())["errors"] == one.errors


def test_a_stack_that_does_not_start_leaves_the_other_measured(
    bench: Callable[..., Runner],
) -> None:
    FakeStack.broken = {"stock up"}
    one = bench(group("first"), group("last"))
    one.run()
    assert samples(one.path) == {"first": {"airlane": [1.0]}, "last": {"airlane": [1.0]}}
    assert one.errors == ["stock up: OSError: stock cannot up"]
    assert FakeStack.done.count("stock up") == 1


def test_a_stack_that_cannot_be_cleared_starts_anew(bench: Callable[..., Runner]) -> None:
    FakeStack.broken = {"airlane clear"}
    one = bench(group("broken", BenchError), group("last"))
    one.run()
    assert samples(one.path)["last"]["airlane"] == [1.0]
    assert FakeStack.done.count("airlane up") == 2


def test_a_stack_that_does_not_stop_keeps_the_results(bench: Callable[..., Runner]) -> None:
    FakeStack.broken = {"stock down"}
    one = bench(group("first"))
    one.run()
    assert "airlane down" in FakeStack.done
    assert one.errors == ["stock down: OSError: stock cannot down"]
    assert samples(one.path)["first"]["stock"] == [1.0]


def test_an_interrupt_keeps_what_was_measured(bench: Callable[..., Runner]) -> None:
    one = bench(group("first"), group("second", KeyboardInterrupt), group("last"))
    with pytest.raises(KeyboardInterrupt):
        one.run()
    assert samples(one.path) == {
        "first": {"stock": [1.0], "airlane": [1.0]},
        "second": {"stock": [1.0]},
    }
    assert json.loads(one.path.read_text())["about"]["interrupted"] is True
    assert FakeStack.done[-2:] == ["stock down", "airlane down"]


def test_a_case_without_samples_is_named(bench: Callable[..., Runner]) -> None:
    silent = Group(
        *("silent", (Case("silent", "silent"), Case("own", "own", stacks=("airlane",)))),
        *(lambda *_: iter(()), Cost(1, 1)),
        rounds=1,
        warm=False,
    )
    one = bench(silent)
    one.run()
    assert one.errors == [
        "silent, stock: expected samples, found none",
        "silent, airlane: expected samples, found none",
        "own, airlane: expected samples, found none",
    ]


def test_peers_are_kept_one_by_one(
    bench: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(names: list[str], **_: object) -> dict[str, dict[str, object]]:
        if names == ["dbos"]:
            raise MemoryError("no memory")
        figures = {"n": 1, "p50": 1.0, "p95": 1.0, "max": 1.0}
        return {names[0]: {"version": "1", **dict.fromkeys(CASES, figures)}}

    monkeypatch.setattr(peers, "run", measured)
    one = bench(group("first"), peers=True)
    one.run()
    found = json.loads(one.path.read_text())
    assert set(found["peers"]) == set(PEERS) - {"dbos"}
    assert one.errors == ["dbos: MemoryError: no memory"]


def test_the_floor_is_measured_when_the_stacks_are_down(
    bench: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(_report: object) -> dict[str, dict[str, object]]:
        FakeStack.done.append("floor")
        return {"fork": {"what": "a fork", "cpu": 0.004, "seconds": 0.005}}

    monkeypatch.setattr(runner.floor, "measure", measured)
    one = bench(group("first"), floor=True)
    one.run()
    assert json.loads(one.path.read_text())["floor"]["fork"]["cpu"] == 0.004
    assert FakeStack.done[-3:] == ["stock down", "airlane down", "floor"]


def test_the_floor_alone_starts_no_stack(
    bench: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_report: object) -> None:
        raise BenchError("no PostgreSQL")

    monkeypatch.setattr(runner.floor, "measure", broken)
    one = bench(floor=True)
    one.run()
    assert FakeStack.done == []
    assert one.errors == ["floor: no PostgreSQL"]


def test_what_is_left_follows_how_the_turns_went() -> None:
    clock = estimate.Clock(3600)
    assert clock.left == 3600
    clock.done(600, 600)
    assert clock.left == 3000
    clock.done(600, 6000)
    assert clock.left > 2400
