"""Where a run's time goes: its stages, from the times that Airflow keeps in its database."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

#: The stages of a chain, in order. `DECISION` belongs to sign-ups only.
EVENT_TO_RUN = "event to run"
RUN_TO_SCHEDULED = "run to scheduled"
SCHEDULED_TO_QUEUED = "scheduled to queued"
QUEUED_TO_START = "queued to start"
START_TO_END = "start to end"
END_TO_SCHEDULED = "end to next scheduled"
END_TO_RUN_END = "last end to run end"
DECISION = "decision event"

STAGES = (
    EVENT_TO_RUN,
    RUN_TO_SCHEDULED,
    SCHEDULED_TO_QUEUED,
    QUEUED_TO_START,
    START_TO_END,
    END_TO_SCHEDULED,
    END_TO_RUN_END,
    DECISION,
)


@dataclass(frozen=True)
class StepTimes:
    """When a task instance got from one state to the next (seconds since the epoch)."""

    task_id: str
    scheduled: float
    queued: float
    start: float
    end: float


@dataclass(frozen=True)
class RunTimes:
    """When a run was asked for, created, and over, and its steps.

    Parameters
    ----------
    called
        When the caller began to ask for the run.
    created, end
        As the database has them.
    state
        The run's last state.
    steps
        In any order.
    """

    called: float
    created: float
    end: float
    state: str
    steps: tuple[StepTimes, ...]

    @property
    def seconds(self) -> float:
        """From the call to the end of the run."""
        return self.end - self.called

    @property
    def first_start(self) -> float:
        """From the call to the start of the first task."""
        return min(step.start for step in self.steps) - self.called


def of_chain(run: RunTimes) -> dict[str, list[float]]:
    """Return the durations of each stage of a run whose steps follow one upon the other."""
    steps = sorted(run.steps, key=lambda step: step.start)
    found: dict[str, list[float]] = {EVENT_TO_RUN: [run.created - run.called]}
    if not steps:
        return found
    found[RUN_TO_SCHEDULED] = [steps[0].scheduled - run.created]
    found[SCHEDULED_TO_QUEUED] = [step.queued - step.scheduled for step in steps]
    found[QUEUED_TO_START] = [step.start - step.queued for step in steps]
    found[START_TO_END] = [step.end - step.start for step in steps]
    found[END_TO_SCHEDULED] = [after.scheduled - before.end for before, after in pairwise(steps)]
    found[END_TO_RUN_END] = [run.end - max(step.end for step in steps)]
    return found


def gaps(run: RunTimes, upstream: dict[str, frozenset[str]]) -> list[float]:
    """Return, for each step that depends on others, the time from their last end to its start."""
    ends = {step.task_id: step.end for step in run.steps}
    return [
        step.start - max(ends[name] for name in upstream[step.task_id])
        for step in run.steps
        if upstream.get(step.task_id)
    ]


def merge(parts: Iterable[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Return the stages of several runs as one, in the order of a run."""
    collected: dict[str, list[float]] = {}
    for part in parts:
        for name, values in part.items():
            # a time that the database does not have makes no duration
            collected.setdefault(name, []).extend(v for v in values if math.isfinite(v))
    return {name: collected[name] for name in STAGES if collected.get(name)}
