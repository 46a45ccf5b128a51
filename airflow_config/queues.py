"""The queue model: what each queue promises and who serves it, read from queues.yaml.

This is the ground that everything else stands on. It imports nothing of the project but its
helpers (durations, located_yaml, problems, queue_entries, queue_rules, sizes), and nobody else
parses queues.yaml.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from airflow_config.located_yaml import Located, parse
from airflow_config.located_yaml import Path as Place
from airflow_config.problems import Problems, expected_one_of
from airflow_config.queue_entries import Queue, Retries, WorkerClass
from airflow_config.queue_rules import check_rules

#: Weights of one band: the queue's priority x BAND + the author's weight clipped to 0..BAND - 1.
BAND = 1_000

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


@dataclass(frozen=True)
class Source:
    """Where a model was written: the file, and the line of each of its keys."""

    file: str = "queues.yaml"
    lines: Mapping[Place, int] = field(default_factory=dict)

    def where(self, key: Place) -> str:
        """Return `file:line` of a key, or of what would be around it."""
        return f"{self.file}:{Located(lines=dict(self.lines)).line(key)}"


@dataclass(frozen=True)
class Share:
    """What one worker class gives to a queue's pool.

    Parameters
    ----------
    worker_class
        Its name.
    workers
        How many of it.
    slots
        All of theirs.
    lent
        The class is at home in another queue.
    """

    worker_class: str
    workers: int
    slots: int
    lent: bool


@dataclass(frozen=True)
class Fleet:
    """All queues, highest priority first, and all worker classes."""

    queues: Mapping[str, Queue]
    workers: Mapping[str, WorkerClass]
    #: Two files that say the same are the same model.
    source: Source = field(default=Source(), compare=False, repr=False)

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

    def pool_shares(self, counts: Mapping[str, int] | None = None) -> dict[str, list[Share]]:
        """Return what each class gives to each queue's pool, those at home first.

        Parameters
        ----------
        counts
            Workers of each class, none for a class that is missing; by default those of one
            machine (`local`).
        """
        if counts is None:
            counts = {name: worker.local for name, worker in self.workers.items()}
        shares: dict[str, list[Share]] = {queue: [] for queue in self.queues}
        for name, worker in self.workers.items():
            count = counts.get(name, 0)
            for queue in self.consumes(name):
                lent = queue != worker.home
                shares[queue].append(Share(name, count, count * worker.concurrency, lent))
        return {
            queue: sorted(found, key=lambda share: share.lent) for queue, found in shares.items()
        }

    def pool_slots(self, counts: Mapping[str, int] | None = None) -> dict[str, int]:
        """Return the slots of each queue's pool, for the workers in `counts` as above."""
        shares = self.pool_shares(counts)
        return {queue: sum(share.slots for share in found) for queue, found in shares.items()}

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
    hint = ""
    if path is None:
        hint = "; is AIRLANE_QUEUES right?"
        root = Path(__file__).resolve().parent.parent
        path = Path(os.environ.get("AIRLANE_QUEUES") or root / "queues.yaml").expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise QueuesError([f"{path}:1: expected the queue model, found: {reason}{hint}"]) from None
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
    unsaid = Retries()
    defaults = (unsaid.count, unsaid.delay, unsaid.max_delay)
    check_rules(problems, raw_queues, raw_workers, defaults)
    if problems:
        raise QueuesError(problems.texts())
    ordered = sorted((q for q in queues.values() if q), key=lambda queue: -queue.priority)
    return Fleet(
        queues={queue.name: queue for queue in ordered},
        workers={worker.name: worker for worker in workers.values() if worker},
        source=Source(file, located.lines),
    )
