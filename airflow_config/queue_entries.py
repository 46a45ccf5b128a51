"""The entries of queues.yaml: what each may hold, and what follows from it.

The descriptions are what an editor shows (`docs/queues.schema.json`) and the tables of
docs/queues.md: both are written from here by `make docs`.
"""

from __future__ import annotations

from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from pydantic import model_validator as validator
from pydantic_core import PydanticCustomError

from airflow_config.durations import Duration
from airflow_config.retry_waits import MOST_RETRIES
from airflow_config.sizes import Size

#: Active runs per DAG when the queue does not say: on a queue with a promise a burst must be
#: taken at once; elsewhere a run that waits costs nothing, and a run that is examined does.
URGENT_ACTIVE_RUNS, OTHER_ACTIVE_RUNS = 512, 16

#: A module's full name. ASCII alone: `\w` means something else to every reader of a pattern.
_MODULE = r"^[A-Za-z_][A-Za-z0-9_.]*$"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Promise(_Entry):
    """What 95 % of the cases of an urgent queue get."""

    end_to_end: Annotated[Duration, Field(description="From the event to the decision.")]
    task: Annotated[
        Duration,
        Field(
            description="From a task being ready to its end. `task_timeout` may be above it: a "
            "task that takes longer may still leave its run in time, one that is cut off does not."
        ),
    ]
    gap: Annotated[
        Duration,
        Field(description="From the end of a task to the start of one that depends on it."),
    ]

    @validator(mode="after")
    def _in_order(self) -> Self:
        if not self.gap <= self.task <= self.end_to_end:
            raise PydanticCustomError(
                "order",
                "expected gap <= task <= end_to_end, found {gap}, {task}, {end_to_end}",
                self.model_dump(),
            )
        return self


class Retries(_Entry):
    """How often and how soon a task that failed or was interrupted runs again."""

    count: Annotated[
        StrictInt,
        Field(ge=0, le=MOST_RETRIES, description="Retries of a task whose author set none."),
    ] = 3
    delay: Annotated[
        Duration,
        Field(description="Before the first retry; it doubles with each one up to `max_delay`."),
    ] = timedelta(seconds=10)
    max_delay: Annotated[
        Duration,
        Field(
            description="Bounds an author's own delay too. With a promise it is less than its "
            "`end_to_end`, so it has to be written."
        ),
    ] = timedelta(minutes=5)

    @validator(mode="after")
    def _in_order(self) -> Self:
        if self.delay > self.max_delay:
            raise PydanticCustomError(
                "order",
                "expected delay <= max_delay, found {delay} and {max_delay}",
                self.model_dump(),
            )
        return self


class Queue(_Entry):
    """One queue: a Celery queue and an Airflow pool of the same name."""

    name: str
    description: Annotated[
        StrictStr, Field(description="For people: the pool's description in Airflow.")
    ] = ""
    # Weights reach 2**31 - 1 in the database.
    priority: Annotated[
        StrictInt,
        Field(
            ge=1,
            le=1_000_000,
            description="The band: every task's weight is `priority` x 1000 + the author's 0..999. "
            "Also the order in which workers take from their queues. Each queue has its own.",
        ),
    ]
    promise: Annotated[
        Promise | None,
        Field(
            description="What 95 % of the cases get. A queue with a promise is an urgent one: its "
            "DAGs may have 512 active runs. Half of the shortest `end_to_end`, at least 60 s and "
            "at most 600 s, is how long a message may lie on the broker before it is sent again."
        ),
    ] = None
    task_timeout: Annotated[
        Duration,
        Field(
            description="The longest `execution_timeout`; with a promise not above its "
            "`end_to_end`. Twice the longest one plus an hour is Redis' visibility timeout."
        ),
    ]
    task_memory: Annotated[
        Size | None,
        Field(
            description="Memory that one task may take beside what its process starts with. One "
            "that asks for more fails with a `MemoryError`, alone, and its log names the limit."
        ),
    ] = None
    retries: Annotated[Retries, Field(description="What tasks get whose author set nothing.")] = (
        Retries()
    )
    allowed_dags: Annotated[
        tuple[StrictStr, ...],
        Field(
            min_length=1,
            description="Patterns (`*`, `?`, `[abc]`, case counts) of the DAG ids that may use "
            "the queue.",
        ),
    ] = ("*",)
    default: Annotated[
        StrictBool,
        Field(
            description="Exactly one queue is the default: for tasks that name none. It must "
            "allow every DAG."
        ),
    ] = False
    max_active_runs: Annotated[
        Annotated[StrictInt, Field(ge=1, le=100_000)] | None,
        Field(
            description=f"Active runs of a DAG on this queue; by default {URGENT_ACTIVE_RUNS} "
            f"with a promise, else {OTHER_ACTIVE_RUNS}. A DAG on several queues gets the highest."
        ),
    ] = None

    def allows(self, dag_id: str) -> bool:
        """Tell whether tasks of this DAG may use the queue."""
        return any(fnmatchcase(dag_id, pattern) for pattern in self.allowed_dags)

    @property
    def active_runs(self) -> int:
        """Active runs that a DAG of this queue may have at most."""
        if self.max_active_runs is not None:
            return self.max_active_runs
        return URGENT_ACTIVE_RUNS if self.promise else OTHER_ACTIVE_RUNS


class Hosts(_Entry):
    """How many hosts of a fleet run this worker class."""

    min: Annotated[StrictInt, Field(ge=0, le=10_000, description="At least so many.")] = 1
    max: Annotated[
        StrictInt,
        Field(
            ge=1, le=10_000, description="At most so many; `[core] parallelism` is chosen for it."
        ),
    ] = 1

    @validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise PydanticCustomError(
                "order", "expected min <= max, found {min} and {max}", self.model_dump()
            )
        return self


class WorkerClass(_Entry):
    """Workers of one kind: one home queue, and the queues that they help out."""

    name: str
    home: Annotated[
        StrictStr,
        Field(
            description="The queue that these workers are for. Every queue needs a class of its "
            "own; one with a promise needs one that lends to no other queue and has `hosts.min` "
            "of at least 1."
        ),
    ]
    lends_to: Annotated[
        tuple[StrictStr, ...],
        Field(description="Queues of higher priority that they help out. Never a lower one."),
    ] = ()
    concurrency: Annotated[
        StrictInt,
        Field(ge=1, le=1_000, description="Tasks that one worker runs at a time."),
    ]
    local: Annotated[
        StrictInt,
        Field(ge=0, le=100, description="How many of these workers `make up` starts."),
    ] = 1
    hosts: Annotated[Hosts, Field(description="How many hosts of a fleet may run this class.")] = (
        Hosts()
    )
    drain: Annotated[
        Duration | None,
        Field(
            description="How long a host of a fleet that is drained may take to finish its tasks; "
            "by default the longest `task_timeout` of the queues that the class serves, and not "
            "less. What runs longer is told, and cut off or waited for as the operator chose; a "
            "task that is cut off runs again by retry."
        ),
    ] = None
    preload: Annotated[
        tuple[Annotated[StrictStr, Field(pattern=_MODULE)], ...],
        Field(
            description="Modules that the worker imports before its first task. A class that "
            "lends preloads those of the queues that it serves too."
        ),
    ] = ()
