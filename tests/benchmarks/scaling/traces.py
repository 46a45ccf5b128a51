"""A day's work, by shape and seed: when tasks of each queue come, and which hosts get stuck.

The days in `TUNING` are for choosing the planner's rules, those in `JUDGING` for saying how good
it is; they are never used for the other. Days for tuning are of the shapes `daily` and `flood`;
those for judging are other days of these, and days of shapes that no rule was chosen on. Twice a
verdict on days of `flood` led to a change of the rules: these are days for tuning since, and all
days that were judged then (seeds 101 to 107, 201 to 204) were replaced by new ones:

- `daily`: a curve through the day with two to five bursts; batch by the full hour and by night;
- `steps`: sign-ups jump between levels without a warning; batch comes at any time;
- `crowds`: hardly anyone, and some times a crowd that is gone about when a new host is ready;
- `flood`: as `daily`, with longer tasks, and batch work that waits from morning to night, with
  tasks of an hour, so that lent slots seldom come free.

Days of a shape differ by more than chance: how many bursts there are, how high and how long, how
much batch there is, which host gets stuck and when.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Day(NamedTuple):
    """Which day: `trace` makes the same one for the same words."""

    shape: str
    seed: int

    def __str__(self) -> str:
        """Return it as tables have it."""
        return f"{self.shape} {self.seed}"


TUNING = (
    *(Day("daily", seed) for seed in (1, 2, 3, 4, 5, 11)),
    *(Day("flood", seed) for seed in (11, 201, 202, 203, 204)),
)
JUDGING = (
    *(Day("daily", seed) for seed in (108, 109, 110)),
    *(Day(shape, seed) for shape in ("steps", "crowds", "flood") for seed in (205, 206)),
)

DAY = 86_400.0
#: Tasks of a sign-up that come together, stage after stage: a step waits for the one before.
STAGES = (1, 3, 2, 1, 1)
#: Seconds of a sign-up's task: mean, and spread of the logarithm.
SIGNUP_TASK = (2.0, 0.5)
#: Sign-ups per second at night and at the day's peak.
LOW, HIGH = 0.10, 1.0


@dataclass(frozen=True)
class Job:
    """A DagRun: stages one after another, each of tasks that run at the same time.

    Parameters
    ----------
    time
        Seconds of the day when it comes.
    queue
        Where its tasks wait.
    stages
        Seconds that each task runs.
    """

    time: float
    queue: str
    stages: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Fault:
    """From `time` on the oldest host of a class takes no more work, and looks healthy."""

    time: float
    worker_class: str


@dataclass(frozen=True)
class Trace:
    """A day."""

    day: Day
    jobs: tuple[Job, ...]
    faults: tuple[Fault, ...]


def trace(day: Day) -> Trace:
    """Make a day."""
    random_ = random.Random(day.seed)
    jobs = [*_SHAPES[day.shape](random_), *_control(random_)]
    jobs.sort(key=lambda job: job.time)
    faults = (
        Fault(random_.uniform(7, 11) * 3600, "onboarding"),
        Fault(random_.uniform(1, 20) * 3600, "batch"),
    )
    return Trace(day, tuple(jobs), faults)


#: (begin, end, factor) of each burst of sign-ups.
_Bursts = tuple[tuple[float, float, float], ...]


def _daily(random_: random.Random) -> list[Job]:
    bursts = tuple(_bursts(random_))
    most = HIGH * max([1.0, *(factor for _, _, factor in bursts)])
    return [
        *_signups(random_, lambda time: _rate(time, bursts), most),
        *_hourly(random_),
        *_nightly(random_),
    ]


def _steps(random_: random.Random) -> list[Job]:
    levels: list[tuple[float, float]] = []
    time = 0.0
    while time < DAY:
        levels.append((time, random_.choice([0.05, 0.2, 0.5, 0.9, 1.4])))
        time += random_.uniform(10, 150) * 60
    starts = [start for start, _ in levels]

    def rate(at: float) -> float:
        return levels[bisect.bisect_right(starts, at) - 1][1]

    jobs = list(_signups(random_, rate, 1.4))
    time = 0.0
    while (time := time + random_.expovariate(1 / 240)) < DAY:
        width = random_.randint(1, 30)
        jobs.append(Job(time, "batch", _stages(random_, (1, width, 1), 60.0, 1.0)))
    return jobs


def _crowds(random_: random.Random) -> list[Job]:
    bursts = []
    for _ in range(random_.randint(6, 10)):
        begin = random_.uniform(0, 23.5) * 3600
        bursts.append((begin, begin + random_.uniform(1, 4) * 60, random_.uniform(1.0, 5.0)))

    def rate(at: float) -> float:
        return max([0.03, *(height for begin, end, height in bursts if begin <= at < end)])

    return [*_signups(random_, rate, 5.0), *_nightly(random_)]


def _flood(random_: random.Random) -> list[Job]:
    bursts = tuple(_bursts(random_))
    most = HIGH * max([1.0, *(factor for _, _, factor in bursts)])
    jobs = list(_signups(random_, lambda time: _rate(time, bursts), most, (3.0, 0.8)))
    time = 6 * 3600.0
    while (time := time + random_.expovariate(1 / 110)) < 22 * 3600:
        width = random_.randint(4, 24)
        jobs.append(Job(time, "batch", _stages(random_, (1, width), 600.0, 1.0)))
        if random_.random() < 0.15:
            jobs.append(Job(time, "batch", ((random_.uniform(1_800, 7_200),) * 4,)))
    return jobs


_SHAPES: dict[str, Callable[[random.Random], list[Job]]] = {
    "daily": _daily,
    "steps": _steps,
    "crowds": _crowds,
    "flood": _flood,
}


def _bursts(random_: random.Random) -> Iterator[tuple[float, float, float]]:
    """Two to five times a day a campaign or an outage upstream sends many people at once."""
    for _ in range(random_.randint(2, 5)):
        begin = random_.uniform(6, 23) * 3600
        yield begin, begin + random_.uniform(3, 20) * 60, random_.uniform(2.0, 5.0)


def _rate(time: float, bursts: _Bursts) -> float:
    """Return sign-ups per second: low at four in the morning, high at four in the afternoon."""
    curve = (1 - math.cos((time / 3600 - 4) / 24 * 2 * math.pi)) / 2
    rate = LOW + (HIGH - LOW) * curve**2
    return rate * max([1.0, *(factor for begin, end, factor in bursts if begin <= time < end)])


def _signups(
    random_: random.Random,
    rate: Callable[[float], float],
    most: float,
    task: tuple[float, float] = SIGNUP_TASK,
) -> Iterator[Job]:
    time = 0.0
    while (time := time + random_.expovariate(most)) < DAY:
        # thinning: arrivals at random with a rate that changes
        if random_.random() * most < rate(time):
            yield Job(time, "onboarding", _stages(random_, STAGES, *task))


def _hourly(random_: random.Random) -> Iterator[Job]:
    """Cron jobs at the full hour and some at the quarter: many short tasks, a few long ones."""
    for quarter in range(96):
        count = random_.randint(4, 12) if quarter % 4 == 0 else random_.randint(0, 3)
        for _ in range(count):
            time = quarter * 900 + random_.uniform(0, 20)
            width = random_.randint(2, 16)
            yield Job(time, "batch", _stages(random_, (1, width, 1), 45.0, 1.0))
        if random_.random() < 0.1:
            long = random_.uniform(1_800, 7_200)
            yield Job(quarter * 900 + random_.uniform(0, 900), "batch", ((long,),))


def _nightly(random_: random.Random) -> Iterator[Job]:
    """The night's reports: a large backlog at once."""
    begin = random_.uniform(0.5, 4) * 3600
    for _ in range(random_.randint(20, 60)):
        width = random_.randint(10, 40)
        yield Job(begin + random_.uniform(0, 60), "batch", _stages(random_, (1, width), 120.0, 0.8))


def _control(random_: random.Random) -> Iterator[Job]:
    """A canary a minute."""
    for minute in range(1_440):
        yield Job(minute * 60 + random_.uniform(0, 5), "control", _stages(random_, (1,), 1.0, 0.3))


def _stages(
    random_: random.Random, widths: tuple[int, ...], mean: float, spread: float
) -> tuple[tuple[float, ...], ...]:
    # so that the mean of the lognormal distribution is `mean`
    mu = math.log(mean) - spread**2 / 2
    return tuple(
        tuple(min(random_.lognormvariate(mu, spread), 7_200.0) for _ in range(width))
        for width in widths
    )
