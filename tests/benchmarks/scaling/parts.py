"""What a simulated fleet is made of, and what a day on it comes to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.benchmarks.scaling.traces import Job


@dataclass(eq=False, slots=True)
class Run:
    """A DagRun under way."""

    job: Job
    stage: int = 0
    left: int = 0
    late_task: bool = False
    late_gap: bool = False


@dataclass(eq=False, slots=True)
class Task:
    """A task under way."""

    run: Run
    seconds: float
    ready: float
    start: float = 0.0
    host: Host | None = None


@dataclass(eq=False, slots=True)
class Host:
    """A host."""

    name: str
    number: int
    worker_class: str
    slots: int
    asked: float
    state: str = "booting"
    stuck: bool = False
    taken: float | None = None
    tasks: dict[Task, None] = field(default_factory=dict)


@dataclass
class Outcome:
    """What a day came to.

    Parameters
    ----------
    signups, kept
        Sign-ups, and those of which every promise was kept: end to end, each task, each gap.
    late_end, late_task, late_gap
        Sign-ups of which that one was broken.
    batch_waits
        Seconds that each batch task waited for a slot.
    host_seconds
        By worker class.
    killed
        Tasks that were killed when a host was taken away.
    unfinished
        DagRuns that had not ended when the simulation did.
    hosts
        (time, by worker class) at each look, for the chart.
    broken
        When sign-ups of which a promise was broken had come, for the chart.
    """

    signups: int = 0
    kept: int = 0
    late_end: int = 0
    late_task: int = 0
    late_gap: int = 0
    batch_waits: list[float] = field(default_factory=list)
    host_seconds: Counter[str] = field(default_factory=Counter)
    killed: int = 0
    unfinished: int = 0
    hosts: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    broken: list[float] = field(default_factory=list)
