"""The queue model: what each queue promises and who serves it, read from queues.yaml.

This is the ground that everything else stands on. It imports nothing of the project but its
helpers (durations, located_yaml, problems, sizes), and nobody else parses queues.yaml.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from pydantic import model_validator as validator
from pydantic_core import PydanticCustomError

from airflow_config.durations import Duration
from airflow_config.located_yaml import parse
from airflow_config.problems import Problems, expected_one_of
from airflow_config.queue_rules import check_rules
from airflow_config.sizes import Size

#: Weights of one band: the queue's priority x BAND + the author's weight clipped to 0..BAND - 1.
BAND = 1_000

#: Active runs per DAG when the queue does not say: on a queue with a promise a burst must be
#: taken at once; elsewhere a run that waits costs nothing, and a run that is examined does.
URGENT_ACTIVE_RUNS, OTHER_ACTIVE_RUNS = 512, 16

#: `parallelism` above the sum of all pools: what messages in doubt (a requeue) may hold.
PARALLELISM_MARGIN = 32

#: The keys of queues.yaml.
SECTIONS = ("queues", "workers")


class QueuesError(ValueError):
    """queues.yaml cannot be used; `problems` holds a line for each thing that is wrong."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class UnknownQueueError(LookupError):
    """No queue has this name; the message lists the names and the nearest one."""

    def __init__(self, name: object, known: Iterable[str]) -> None:
        super().__init__(expected_one_of(known, name))


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Promise(_Model):
    """What 95 % of the cases of an urgent queue get.

    Parameters
    ----------
    end_to_end
        From the event to the decision.
    task
        From a task being ready to its end.
    gap
        From the end of a task to the start of one that depends on it.
    """

    end_to_end: Duration
    task: Duration
    gap: Duration

    @validator(mode="after")
    def _in_order(self) -> Self:
        if not self.gap <= self.task <= self.end_to_end:
            raise PydanticCustomError(
                "order",
                "expected gap <= task <= end_to_end, found {gap}, {task}, {end_to_end}",
                self.model_dump(),
            )
        return self


class Retries(_Model):
    """How often and how soon a task that failed or was interrupted runs again."""

    count: Annotated[StrictInt, Field(ge=0, le=100)] = 3
    delay: Duration = timedelta(seconds=10)
    max_delay: Duration = timedelta(minutes=5)

    @validator(mode="after")
    def _in_order(self) -> Self:
        if self.delay > self.max_delay:
            raise PydanticCustomError(
                "order",
                "expected delay <= max_delay, found {delay} and {max_delay}",
                self.model_dump(),
            )
        return self


class Queue(_Model):
    """One queue: a Celery queue and an Airflow pool of the same name."""

    name: str
    description: StrictStr = ""
    #: Band of priority; higher first. Weights reach 2**31 - 1 in the database.
    priority: Annotated[StrictInt, Field(ge=1, le=1_000_000)]
    promise: Promise | None = None
    task_timeout: Duration
    #: Bytes that a task may take beside what its process starts with.
    task_memory: Size | None = None
    retries: Retries = Retries()
    allowed_dags: Annotated[tuple[StrictStr, ...], Field(min_length=1)] = ("*",)
    default: StrictBool = False
    max_active_runs: Annotated[StrictInt, Field(ge=1, le=100_000)] | None = None

    def allows(self, dag_id: str) -> bool:
        """Tell whether tasks of this DAG may use the queue."""
        return any(fnmatchcase(dag_id, pattern) for pattern in self.allowed_dags)

    @property
    def active_runs(self) -> int:
        """Active runs that a DAG of this queue may have at most."""
        if self.max_active_runs is not None:
            return self.max_active_runs
        return URGENT_ACTIVE_RUNS if self.promise else OTHER_ACTIVE_RUNS


class Hosts(_Model):
    """How many hosts of a fleet run this worker class."""

    min: Annotated[StrictInt, Field(ge=0, le=10_000)] = 1
    max: Annotated[StrictInt, Field(ge=1, le=10_000)] = 1

    @validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise PydanticCustomError(
                "order", "expected min <= max, found {min} and {max}", self.model_dump()
            )
        return self


class WorkerClass(_Model):
    """Workers of one kind: one home queue, and the queues that they help out."""

    name: str
    home: StrictStr
    lends_to: tuple[StrictStr, ...] = ()
    #: Tasks that one worker runs at a time.
    concurrency: Annotated[StrictInt, Field(ge=1, le=1_000)]
    #: Workers of this class on one machine's stack.
    local: Annotated[StrictInt, Field(ge=0, le=100)] = 1
    hosts: Hosts = Hosts()
    #: How long a host that is drained may take to finish its tasks; by default the longest of them.
    drain: Duration | None = None
    #: Modules that a worker imports before its first task.
    preload: tuple[Annotated[StrictStr, Field(pattern=r"^[A-Za-z_][\w.]*$")], ...] = ()


@dataclass(frozen=True)
class Fleet:
    """All queues, highest priority first, and all worker classes."""

    queues: Mapping[str, Queue]
    workers: Mapping[str, WorkerClass]

    @cached_property
    def default_queue(self) -> Queue:
        """The queue of tasks that name none."""
        return next(queue for queue in self.queues.values() if queue.default)

    @cached_property
    def urgent(self) -> tuple[Queue, ...]:
        """The queues with a promise, highest priority first."""
        return tuple(queue for queue in self.queues.values() if queue.promise)

    def find_queue(self, name: str) -> Queue:
        """Return the queue, or raise `UnknownQueueError` with the nearest name."""
        try:
            return self.queues[name]
        except KeyError:
            raise UnknownQueueError(name, self.queues) from None

    def consumes(self, class_name: str) -> tuple[str, ...]:
        """Return the queues that a worker class serves, highest priority first."""
        worker = self.workers[class_name]
        served = {worker.home, *worker.lends_to}
        return tuple(name for name in self.queues if name in served)

    def pool_slots(self, counts: Mapping[str, int] | None = None) -> dict[str, int]:
        """Return the slots of each queue's pool.

        Parameters
        ----------
        counts
            Workers of each class, none for a class that is missing; by default those of one
            machine (`local`).
        """
        if counts is None:
            counts = {name: worker.local for name, worker in self.workers.items()}
        slots = dict.fromkeys(self.queues, 0)
        for name, worker in self.workers.items():
            for queue in self.consumes(name):
                slots[queue] += counts.get(name, 0) * worker.concurrency
        return slots

    def drain_limit(self, class_name: str) -> timedelta:
        """Return how long a worker of a class may take to finish what it runs."""
        limit = self.workers[class_name].drain
        return limit or max(self.queues[name].task_timeout for name in self.consumes(class_name))

    def largest(self) -> dict[str, int]:
        """Return how many workers of each class the model allows at most."""
        return {name: max(w.local, w.hosts.max) for name, w in self.workers.items()}

    def parallelism(self, counts: Mapping[str, int] | None = None) -> int:
        """Return a `[core] parallelism` above the sum of all pools, so that it never binds.

        By default for the largest fleet that the model allows, so that pools may follow the
        live workers without a restart of the scheduler.
        """
        if counts is None:
            counts = self.largest()
        return sum(self.pool_slots(counts).values()) + PARALLELISM_MARGIN

    def weight(self, queue_name: str, author_weight: int) -> int:
        """Return the weight of a task: its queue's band, then the author's own weight."""
        author = min(max(author_weight, 0), BAND - 1)
        return self.find_queue(queue_name).priority * BAND + author


def load(path: Path | None = None) -> Fleet:
    """Read the queue model.

    Parameters
    ----------
    path
        By default `$AIRLANE_QUEUES`, or queues.yaml beside the code.

    Raises
    ------
    QueuesError
        With everything that is wrong, each with file, line, expected and found.
    """
    if path is None:
        root = Path(__file__).resolve().parent.parent
        path = Path(os.environ.get("AIRLANE_QUEUES") or root / "queues.yaml").expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise QueuesError(
            [f"{path}:1: expected the queue model, found: {reason}; is AIRLANE_QUEUES right?"]
        ) from None
    return read(text, file=str(path))


def read(text: str, file: str = "queues.yaml") -> Fleet:
    """Read the queue model from text; `file` is its name in errors."""
    located = parse(text)
    problems = Problems(file, located)
    if problems and located.values is None:
        # not YAML: that everything is missing follows from it
        raise QueuesError(problems.texts())
    top = problems.expect_mapping((), located.values)
    for key in top:
        if key not in SECTIONS:
            problems.add((key,), expected_one_of(SECTIONS, key))
    raw_queues = problems.expect_mapping(("queues",), top.get("queues"))
    raw_workers = problems.expect_mapping(("workers",), top.get("workers"))
    queues = {
        name: problems.validate(Queue, ("queues", name), name, value)
        for name, value in raw_queues.items()
    }
    workers = {
        name: problems.validate(WorkerClass, ("workers", name), name, value)
        for name, value in raw_workers.items()
    }
    # The rules look at what was written, so that they hold also where an entry is wrong otherwise.
    check_rules(problems, raw_queues, raw_workers)
    if problems:
        raise QueuesError(problems.texts())
    ordered = sorted((q for q in queues.values() if q), key=lambda queue: -queue.priority)
    return Fleet(
        queues={queue.name: queue for queue in ordered},
        workers={worker.name: worker for worker in workers.values() if worker},
    )
