"""What is measured: cases, groups of cases that are measured together, and how much of each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.benchmarks.measurement import Measurement
from tests.benchmarks.stack import STANDARD, Layout, Report, Stack

SECONDS, TASKS_PER_SECOND, CORES, CPU_SECONDS = "s", "tasks/s", "cores", "CPU s"
#: In the order of their turns.
STACKS = ("stock", "airlane")


@dataclass(frozen=True)
class Case:
    """One line of the results.

    Parameters
    ----------
    name
        Its key in the results file.
    title
        For people.
    unit
        Of its samples.
    higher_is_better
        For the ratio.
    stacks
        That are measured. Where the question is only how airlane's own figure grows, stock, which
        takes minutes for a sample, is left out.
    """

    name: str
    title: str
    unit: str = SECONDS
    higher_is_better: bool = False
    stacks: tuple[str, ...] = STACKS


@dataclass(frozen=True)
class Count:
    """How many samples a round takes, by stack.

    Parameters
    ----------
    stock, airlane
        Of a whole benchmark. Stock takes so long for some that few must do.
    quick_stock, quick_airlane
        Of `--quick`.
    seconds
        After so many seconds a round takes no further sample.
    """

    stock: int
    airlane: int
    quick_stock: int = 2
    quick_airlane: int = 5
    seconds: float = 240


@dataclass
class Plan:
    """How a group is to be measured in this round.

    Parameters
    ----------
    quick
        Few samples, short windows.
    report
        Where progress is told.
    round
        From 0.
    """

    quick: bool
    report: Report
    round: int = 0
    #: The same waits in every benchmark, and the same for both stacks.
    random: random.Random = field(default_factory=lambda: random.Random(20))

    def samples(self, stack: Stack, count: Count) -> int:
        """Return how many samples to take."""
        if stack.name == "stock":
            return count.quick_stock if self.quick else count.stock
        return count.quick_airlane if self.quick else count.airlane

    def seconds(self, whole: float, quick: float) -> float:
        """Return how long a window is."""
        return quick if self.quick else whole


@dataclass(frozen=True)
class Cost:
    """How many seconds a turn takes, by stack, on two cores; seen in whole benchmarks.

    Parameters
    ----------
    stock, airlane
        With everything that belongs to the turn.
    """

    stock: float
    airlane: float


#: Cases and what was measured of them, each as soon as it is there.
Results = Iterator[tuple[str, Measurement]]
Measure = Callable[[Stack, Plan], Results]


@dataclass(frozen=True)
class Group:
    """Cases that one stretch of work measures.

    Parameters
    ----------
    name
        Shown while it is measured.
    cases
        What it yields.
    measure
        Does one round on one stack, which is up, idle and awake.
    rounds
        How often each stack has its turn: A B A B is two.
    quick
        In how many rounds of `--quick`; 0 leaves it out, unless `--case` names it.
    layout
        The slots that it needs.
    warm
        Begin a turn with a chain that does not count. A turn whose load takes a while to build up
        does without: what a rest has made late is caught up on meanwhile.
    whole
        Belongs to a whole benchmark; otherwise only `--case` measures it.
    """

    name: str
    cases: tuple[Case, ...]
    measure: Measure
    cost: Cost
    rounds: int = 2
    quick: int = 0
    layout: Layout = STANDARD
    warm: bool = True
    whole: bool = True

    @property
    def stacks(self) -> tuple[str, ...]:
        """The stacks that have a turn."""
        return tuple(name for name in STACKS if any(name in case.stacks for case in self.cases))
