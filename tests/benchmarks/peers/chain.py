"""One peer measured: the chain idle and beside a flood, and the chain whose worker is killed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import summary
from tests.benchmarks.peers.driver import Driver
from tests.benchmarks.peers.environment import UnavailableError
from tests.benchmarks.peers.peer import Peer
from tests.benchmarks.peers.processes import wait_until
from tests.benchmarks.peers.stack import Stack

#: Steps of the chain, as in `shared/steps.py`.
STEPS = 6

#: That a whole benchmark takes for all peers, on two cores, their environments made already.
MINUTES = 12.5

#: Tasks of the flood, and seconds that each of them sleeps.
FLOOD, NAP = 2000, 10

#: Seconds of a step of the chain whose worker is killed, and until it counts as lost.
SLOW_STEP, LOST = 0.5, 20


#: In this order: what is killed must not have a flood to take up again.
CASES = ("chain6_idle", "after_kill", "chain6_flood_2000")


@dataclass(frozen=True)
class Plan:
    """How much is measured: `samples` chains, or as many as `seconds` allow, three at least."""

    samples: int
    seconds: float
    cases: tuple[str, ...]


QUICK = Plan(samples=15, seconds=20, cases=("chain6_idle", "chain6_flood_2000"))
FULL = Plan(samples=25, seconds=25, cases=CASES)


class Measurement:
    """What is done with a peer whose parts run."""

    def __init__(self, peer: Peer, stack: Stack, driver: Driver, plan: Plan) -> None:
        self.peer, self.stack, self.driver, self.plan = peer, stack, driver, plan
        self._runs = 0

    def _next_run(self) -> str:
        self._runs += 1
        return f"run-{self._runs:05d}"

    def trace(self, run: str) -> list[tuple[int, int]]:
        """Return the steps that a run has done so far, each with its process."""
        file = Path(self.stack.env["PEER_TRACES"], run)
        if not file.exists():
            return []
        lines = file.read_text().splitlines()
        return [(int(number), int(pid)) for number, _, pid in (s.partition(" ") for s in lines)]

    def once(self) -> float:
        """Run one chain and return its seconds.

        Raises
        ------
        UnavailableError
            When its steps were not done once each, in order.
        """
        run = self._next_run()
        seconds = float(self.driver.do("measure", run=run))
        steps = [number for number, _pid in self.trace(run)]
        if steps != list(range(1, STEPS + 1)):
            raise UnavailableError(f"expected steps 1 to {STEPS} in order, found {steps}")
        return seconds

    def chains(self) -> dict[str, Any]:
        """Run chains one after another, after one that warms up, and sum them up."""
        self.once()
        end = time.monotonic() + self.plan.seconds
        samples: list[float] = []
        while len(samples) < self.plan.samples and (len(samples) < 3 or time.monotonic() < end):
            # a moment of its own against polls: back to back, chains would keep step with them
            time.sleep(random.uniform(0, 0.5))
            samples.append(self.once())
        return summary(samples)

    def flooded(self) -> dict[str, Any]:
        """Submit the flood, and run chains while it waits."""
        start = time.monotonic()
        self.driver.do("flood", count=FLOOD, seconds=NAP)
        submitted = time.monotonic() - start
        before = int(self.driver.do("waiting"))
        found = self.chains()
        after = int(self.driver.do("waiting"))
        if not after:
            raise UnavailableError(
                "expected batch tasks that wait throughout, found none at the end"
            )
        return {
            **found,
            "waiting": [before, after],
            "submitted_in": round(submitted, 1),
        }

    def killed(self) -> dict[str, Any]:
        """Kill the chain's worker after its second step, and start it again."""
        run = self._next_run()
        self.driver.do("begin", run=run, seconds=SLOW_STEP)
        wait_until(lambda: len(self.trace(run)) >= 2, "two steps", deadline=LOST)
        self.stack.kill(self.peer.workers)
        killed = time.monotonic()
        self.stack.restart(self.peer.workers)

        def done() -> bool:
            return any(number == STEPS for number, _pid in self.trace(run))

        try:
            wait_until(done, "the last step", deadline=LOST)
        except UnavailableError:
            return {"went_on": False, "seconds": None, "steps": [n for n, _ in self.trace(run)]}
        seconds = round(time.monotonic() - killed, 1)
        return {"went_on": True, "seconds": seconds, "steps": [n for n, _ in self.trace(run)]}

    def case(self, name: str) -> dict[str, Any]:
        """Measure one of `CASES`."""
        return {
            "chain6_idle": self.chains,
            "chain6_flood_2000": self.flooded,
            "after_kill": self.killed,
        }[name]()


def measure(
    peer: Peer,
    python: Path,
    folder: Path,
    plan: Plan,
    cases: tuple[str, ...],
    progress: Callable[[str], None],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Start a peer, measure the cases, stop it.

    Parameters
    ----------
    peer
        What to start.
    python
        Of its environment.
    folder
        Its data and logs; emptied first.
    plan
        How much.
    cases
        Which of `CASES`.
    progress
        Is told in a line what begins.

    Yields
    ------
    tuple
        A case and its figures, as soon as they are there.

    Raises
    ------
    UnavailableError
        At the end, with what could not be measured.
    """
    progress(f"{peer.name}: starting")
    failed: list[str] = []
    with Stack(folder, python, peer.folder) as stack:
        stack.env |= peer.settings
        peer.start(stack)
        with Driver(stack) as driver:
            measurement = Measurement(peer, stack, driver, plan)
            for case in CASES:
                if case in cases:
                    progress(f"{peer.name}: {case}")
                    try:
                        found = measurement.case(case)
                    except (UnavailableError, OSError) as error:
                        progress(f"{peer.name}: {case}: {error}")
                        failed.append(f"{case}: {error}")
                    else:
                        yield case, found
    if failed:
        raise UnavailableError("; ".join(failed))
