"""The order of things: stacks come up, take turns, and go down whatever happens."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import redis

from deploy.local import leftovers
from tests.benchmarks import options as choice
from tests.benchmarks import report as results
from tests.benchmarks import runs
from tests.benchmarks.errors import BenchError
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.options import Options
from tests.benchmarks.peers import results as peers
from tests.benchmarks.plan import Group, Plan
from tests.benchmarks.product import AirlaneStack
from tests.benchmarks.stack import Layout, Report, Stack
from tests.benchmarks.stock import StockStack

_KINDS: dict[str, type[Stack]] = {"stock": StockStack, "airlane": AirlaneStack}
#: What makes a case fail, and not the benchmark.
_FAILURES = (BenchError, httpx.HTTPError, psycopg.Error, redis.RedisError)
#: Samples that are shown while they are measured; all are in the results file.
_SHOWN = 12
_PREFIX, _PID = "airlane-bench-", "benchmark.pid"
_DAGS = Path(__file__).parent / "dags"


class Runner:
    """One call of the benchmark.

    Parameters
    ----------
    options
        What was asked for.
    groups
        All that there are.
    report
        Where progress is told.
    """

    def __init__(self, options: Options, groups: Sequence[Group], report: Report) -> None:
        self._options = options
        self._groups = choice.chosen(options, groups)
        self._report = report
        self._began = time.monotonic()
        self._about: dict[str, Any] = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": results.commit(),
            "quick": options.quick,
            "cases": list(options.cases),
            "stacks": list(options.stacks),
        }
        #: The results file.
        self.path = options.out or results.default_path(whole=options.whole)
        self._measured: dict[str, dict[str, Measurement]] = {}
        self._peers: dict[str, dict[str, Any]] = {}
        self.errors: list[str] = []

    def _say(self, text: str) -> None:
        self._report(f"[{time.monotonic() - self._began:5.0f} s] {text}")

    def run(self) -> dict[str, Any]:
        """Measure, and return the results file's content, which is written after each turn."""
        end_abandoned(self._say)
        home = self._options.home or Path(tempfile.mkdtemp(prefix=_PREFIX))
        home.mkdir(parents=True, exist_ok=True)
        (home / _PID).write_text(str(os.getpid()))
        self._say(f"stacks in {home}, results in {self.path}")
        stacks = [self._stack(name, home) for name in self._options.stacks]
        try:
            for group in self._groups:
                self._ensure(stacks, group.layout)
                self._measure(group, stacks)
        finally:
            for stack in stacks:
                self._say(f"{stack.name}: stopping")
                stack.down()
            if not self._options.home:
                shutil.rmtree(home, ignore_errors=True)
        if self._options.whole or self._options.peers:
            self._say("peers: other programs, one after the other")
            self._peers = peers.run(quick=self._options.quick, progress=self._say)
        return self._write()

    def _stack(self, name: str, home: Path) -> Stack:
        dags = home / f"{name}-dags"
        shutil.rmtree(dags, ignore_errors=True)
        shutil.copytree(_DAGS, dags, ignore=shutil.ignore_patterns("__pycache__"))
        return _KINDS[name](home / name, dags, self._say)

    def _ensure(self, stacks: list[Stack], layout: Layout) -> None:
        """Bring the stacks up with a layout; each rests until its turn."""
        for stack in stacks:
            if stack.layout is not None and stack.layout.name != layout.name:
                stack.down()
        for stack in stacks:
            if stack.layout is None:
                stack.up(layout)
                stack.rest()

    def _measure(self, group: Group, stacks: list[Stack]) -> None:
        count = choice.rounds(self._options, group)
        plans = {s.name: Plan(self._options.quick, self._say) for s in stacks}
        for number in range(count):
            for stack in stacks:
                plans[stack.name].round = number
                self._say(f"{group.name}: {stack.name}, round {number + 1} of {count}")
                self._turn(group, stack, plans[stack.name])
                self._write()

    def _turn(self, group: Group, stack: Stack, plan: Plan) -> None:
        stack.resume()
        try:
            # what a rest has made late is caught up on before anything is measured
            runs.run(stack, "chain6")
            for name, found in group.measure(stack, plan):
                known = self._measured.setdefault(name, {})
                known.setdefault(stack.name, Measurement()).merge(found)
                self._say(f"  {name}: {_shown(found)}")
        except _FAILURES as error:
            # the other cases can be measured all the same
            text = f"{group.name}, {stack.name}: {error}"
            self.errors.append(text)
            self._say(f"  NOT MEASURED: {text}")
            self._recover(stack)
        finally:
            stack.rest()

    def _recover(self, stack: Stack) -> None:
        """Leave nothing of a case that failed to the next one."""
        try:
            stack.clear()
        except _FAILURES as error:
            self._say(f"  {stack.name} starts anew: {error}")
            layout = stack.layout
            assert layout is not None
            stack.down()
            stack.up(layout)

    def _write(self) -> dict[str, Any]:
        cases = [case for group in self._groups for case in group.cases]
        content = results.document(
            cases, self._measured, about=self._about, errors=self.errors, peers=self._peers
        )
        results.write(self.path, content)
        return content


def end_abandoned(report: Report) -> None:
    """End the stacks of a benchmark that was killed before it could stop them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if folder.stat().st_uid != os.getuid() or _runs(int((folder / _PID).read_text())):
                continue
        except (OSError, ValueError):
            continue
        report(f"ending what a benchmark that was killed has left in {folder}")
        for name in _KINDS:
            leftovers.end(leftovers.find(folder / name), grace=5)
        shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        return "tests.benchmarks" in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


def _shown(found: Measurement) -> str:
    first = [f"{sample:.3g}" for sample in found.samples[:_SHOWN]]
    more = len(found.samples) - len(first)
    return ", ".join(first + ([f"and {more} more"] if more else [])) or "no sample"
