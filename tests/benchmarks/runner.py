"""The order of things: stacks come up, take turns, and go down whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from deploy.local import leftovers
from tests.benchmarks import estimate, floor, runs
from tests.benchmarks import options as choice
from tests.benchmarks import report as results
from tests.benchmarks.errors import BenchError
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.options import Options
from tests.benchmarks.peers import results as peers
from tests.benchmarks.peers.catalogue import PEERS
from tests.benchmarks.peers.chain import MINUTES
from tests.benchmarks.plan import Group, Plan
from tests.benchmarks.product import AirlaneStack
from tests.benchmarks.stack import Layout, Report, Stack
from tests.benchmarks.stock import StockStack

_KINDS: dict[str, type[Stack]] = {"stock": StockStack, "airlane": AirlaneStack}
#: What asks the benchmark to end.
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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
        self._floor: dict[str, dict[str, Any]] = {}
        self.errors: list[str] = []
        #: Stacks that did not start, with the layout.
        self._failed: set[tuple[str, str]] = set()
        #: Seconds that each turn took, by group and stack.
        self._took: dict[str, dict[str, list[int]]] = {}
        self._about["seconds"] = self._took
        self._clock = estimate.Clock(self._expected)

    def _say(self, text: str) -> None:
        passed = int(time.monotonic() - self._began)
        self._report(f"[{passed // 60:3}:{passed % 60:02}] {text}")

    def run(self) -> dict[str, Any]:
        """Measure, and return the results file's content, which is written after each turn.

        Raises
        ------
        KeyboardInterrupt
            When it is interrupted; the stacks are down then, and the file has what was measured.
        """
        end_abandoned(self._say)
        home = self._options.home or Path(tempfile.mkdtemp(prefix=_PREFIX))
        home.mkdir(parents=True, exist_ok=True)
        (home / _PID).write_text(str(os.getpid()))
        self._say(f"stacks in {home}, results in {self.path}")
        self._say(f"about {estimate.minutes(self._expected)}, on two cores")
        stacks = [self._stack(name, home) for name in self._options.stacks if self._groups]
        try:
            try:
                for group in self._groups:
                    self._ensure(stacks, group.layout)
                    self._measure(group, stacks)
            finally:
                self._end(stacks)
                if not self._options.home:
                    shutil.rmtree(home, ignore_errors=True)
            self._note_missing()
            if self._with_floor:
                self._attempt("floor", self._measure_floor)
            if self._with_peers:
                self._measure_peers()
        except KeyboardInterrupt:
            self._about["interrupted"] = True
            self._write()
            raise
        return self._write()

    @property
    def _with_peers(self) -> bool:
        return self._options.whole or self._options.peers

    @property
    def _with_floor(self) -> bool:
        return self._options.whole or self._options.floor

    @property
    def _expected(self) -> float:
        """Seconds that everything is expected to take."""
        groups, stacks, quick = self._groups, self._options.stacks, self._options.quick
        measuring = sum(
            estimate.of_group(group, stacks, choice.rounds(self._options, group), quick=quick)
            for group in groups
        )
        others = 60 * MINUTES if self._with_peers else 0
        others += floor.SECONDS if self._with_floor else 0
        return measuring + estimate.of_starts(groups, stacks) + others

    def _stack(self, name: str, home: Path) -> Stack:
        dags = home / f"{name}-dags"
        shutil.rmtree(dags, ignore_errors=True)
        shutil.copytree(_DAGS, dags, ignore=shutil.ignore_patterns("__pycache__"))
        return _KINDS[name](home / name, dags, self._say)

    def _ensure(self, stacks: list[Stack], layout: Layout) -> None:
        """Bring the stacks up with a layout; each rests until its turn."""
        for stack in stacks:
            if stack.layout is not None and stack.layout.name != layout.name:
                self._attempt(f"{stack.name} down", stack.down)
        for stack in stacks:
            if stack.layout is None:
                self._start(stack, layout)

    def _start(self, stack: Stack, layout: Layout) -> None:
        """Start a stack; when it does not start, the cases of this layout go without it."""
        if (stack.name, layout.name) in self._failed:
            return
        began = time.monotonic()

        def start() -> None:
            stack.up(layout)
            stack.rest()

        if not self._attempt(f"{stack.name} up", start):
            self._failed.add((stack.name, layout.name))
            self._attempt(f"{stack.name} down", stack.down)
        cost = estimate.UP[stack.name] + estimate.DOWN[stack.name]
        self._clock.done(cost, time.monotonic() - began)

    def _attempt(self, what: str, do: Callable[[], None]) -> bool:
        """Do something; what goes wrong is noted, and keeps nothing else from being measured."""
        try:
            do()
        except Exception as error:
            self._fail(what, error)
            return False
        return True

    def _fail(self, what: str, error: Exception) -> None:
        kind = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
        text = f"{what}: {kind}{error}"
        self.errors.append(text)
        self._say(f"  NOT MEASURED: {text}")
        if kind:
            # not one that the benchmark foresees: where it came from matters
            self._report(traceback.format_exc())

    def _measure(self, group: Group, stacks: list[Stack]) -> None:
        count = choice.rounds(self._options, group)
        plans = {s.name: Plan(self._options.quick, self._say) for s in stacks}
        for number in range(count):
            for stack in (s for s in stacks if s.name in group.stacks):
                plans[stack.name].round = number
                left = estimate.minutes(self._clock.left)
                turn = f"{group.name}: {stack.name}, round {number + 1} of {count}"
                self._say(f"{turn}; about {left} left")
                began = time.monotonic()
                if stack.layout is None:
                    self._say(f"  left out: {stack.name} is not up")
                else:
                    self._turn(group, stack, plans[stack.name])
                took = time.monotonic() - began
                expected = estimate.of_turn(group, stack.name, quick=self._options.quick)
                self._clock.done(expected, took)
                self._took.setdefault(group.name, {}).setdefault(stack.name, []).append(round(took))
                self._write()

    def _turn(self, group: Group, stack: Stack, plan: Plan) -> None:
        stack.resume()
        try:
            if group.warm:
                # what a rest has made late is caught up on before anything is measured
                runs.run(stack, "chain6")
            for name, found in group.measure(stack, plan):
                known = self._measured.setdefault(name, {})
                known.setdefault(stack.name, Measurement()).merge(found)
                self._say(f"  {name}: {_shown(found)}")
        except Exception as error:
            self._fail(f"{group.name}, {stack.name}", error)
            self._recover(stack)
        finally:
            if stack.layout is not None:
                self._attempt(f"{stack.name} at rest", stack.rest)

    def _recover(self, stack: Stack) -> None:
        """Leave nothing of a case that failed to the next one."""
        layout = stack.layout
        assert layout is not None
        try:
            stack.clear()
        except Exception as error:
            self._say(f"  {stack.name} starts anew: {error}")
            self._attempt(f"{stack.name} down", stack.down)
            self._start(stack, layout)

    def _end(self, stacks: list[Stack]) -> None:
        # an impatient second Ctrl-C would leave stacks behind
        known = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTS}
        try:
            for stack in stacks:
                self._say(f"{stack.name}: stopping")
                self._attempt(f"{stack.name} down", stack.down)
        finally:
            for number, handler in known.items():
                signal.signal(number, handler)

    def _note_missing(self) -> None:
        """Note the cases that went without a sample, and for which no error says why."""
        known = tuple(self.errors)
        for group in self._groups:
            for case in group.cases:
                for name in (n for n in case.stacks if n in self._options.stacks):
                    found = self._measured.get(case.name, {}).get(name)
                    whys = (f"{group.name}, {name}:", f"{name} up:")
                    said = any(error.startswith(whys) for error in known)
                    if not said and (found is None or not found.samples):
                        self.errors.append(f"{case.name}, {name}: expected samples, found none")

    def _measure_floor(self) -> None:
        began = time.monotonic()
        self._floor = floor.measure(self._say)
        self._clock.done(floor.SECONDS, time.monotonic() - began)
        self._write()

    def _measure_peers(self) -> None:
        self._say("peers: other programs, one after the other")
        for name in PEERS:
            self._say(f"{name}; about {estimate.minutes(self._clock.left)} left")
            began = time.monotonic()
            self._attempt(name, partial(self._measure_peer, name))
            self._clock.done(60 * MINUTES / len(PEERS), time.monotonic() - began)
            self._took.setdefault("peers", {})[name] = [round(time.monotonic() - began)]
            self._write()

    def _measure_peer(self, name: str) -> None:
        found = peers.run([name], quick=self._options.quick, progress=self._say)
        self._peers.update(found)
        if missing := [case for case in peers.cases_of(name, quick=self._options.quick)
                       if found[name][case] is None]:  # fmt: skip
            self.errors.append(f"peer {name}: {', '.join(missing)} not measured; see its note")

    def _write(self) -> dict[str, Any]:
        cases = [case for group in self._groups for case in group.cases]
        content = results.document(
            *(cases, self._measured),
            about=self._about,
            errors=self.errors,
            peers=self._peers,
            floor=self._floor,
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
