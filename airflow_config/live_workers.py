"""The registry of live workers on the broker: what a worker tells of itself, and who reads it.

A worker renews its entry every two seconds; an entry that is not renewed goes by itself, so that
nobody needs to notice that a worker was killed. Workers write it (`workers.registry`); the
scheduler reads it for the slots of its pools, `airlane status` and `airlane queues` to show it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import redis
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis.backoff import NoBackoff
from redis.retry import Retry

from airflow_config.queues import Fleet

log = logging.getLogger(__name__)

#: Milliseconds after which an entry that is not renewed goes: four beats of a worker.
TTL = 8_000
#: Sorted set of the names of workers, by the time (ms) of their last beat: to read the registry
#: must not cost a look at every key of the broker, of which there is one for each task.
NAMES = "airlane:workers"
#: Milliseconds after which a name that gave no sign of life is forgotten.
FORGET = 3_600_000

Slots = Annotated[int, Field(ge=0, le=100_000)]


class RunningTask(BaseModel):
    """A task that a worker has taken and not finished.

    Parameters
    ----------
    task
        DAG, task, run, map index and try, as `workers.arguments` describes a message.
    queue
        Where it was taken from.
    since
        When its process began with it; None when it is about to.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    task: str
    queue: str = ""
    since: datetime | None = None


class LiveWorker(BaseModel):
    """What a worker tells of itself.

    Parameters
    ----------
    name
        Celery's node name, such as `batch@host`.
    worker_class
        A worker class of queues.yaml.
    host
        The machine.
    concurrency
        Tasks that it runs at a time.
    queues
        The queues that it consumes now: none when it is told to stop.
    held
        Tasks that it runs still, by queue, of queues that it consumes no longer.
    running
        All tasks that it runs.
    longest_s
        For how many seconds it has run the longest of them.
    release
        The version of airlane that it runs.
    tasks
        What it runs; empty from releases that did not tell.
    taken_at
        When it took a message last; None when it has taken none since its start.
    """

    # a worker of a later release may tell more
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    worker_class: str
    host: str
    concurrency: Slots
    queues: tuple[str, ...]
    held: dict[str, Slots] = {}
    running: Slots = 0
    longest_s: Annotated[float, Field(ge=0)] = 0.0
    release: str
    tasks: tuple[RunningTask, ...] = ()
    taken_at: datetime | None = None

    def slots(self, queue: str) -> int:
        """Return the slots that the worker is to a queue's pool."""
        return self.concurrency if queue in self.queues else self.held.get(queue, 0)


def connect(url: str, timeout: float) -> redis.Redis:
    """Return a client that answers or fails within `timeout` seconds: nobody waits for it."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
    )


def write(client: redis.Redis, worker: LiveWorker, ttl: int = TTL) -> None:
    """Renew a worker's entry."""
    with client.pipeline(transaction=True) as pipeline:
        pipeline.set(_key(worker.name), worker.model_dump_json(), px=ttl)
        pipeline.zadd(NAMES, {worker.name: _now()})
        pipeline.execute()


def remove(client: redis.Redis, name: str) -> None:
    """Remove a worker that ends; forget those that were killed long ago."""
    with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(_key(name))
        pipeline.zrem(NAMES, name)
        pipeline.zremrangebyscore(NAMES, "-inf", _now() - FORGET)
        pipeline.execute()


def read(client: redis.Redis) -> list[LiveWorker]:
    """Return the workers that live, by name.

    Raises
    ------
    redis.exceptions.RedisError
        When the broker does not answer: nothing is known then.
    """
    names: list[Any] = client.zrange(NAMES, 0, -1)
    if not names:
        return []
    entries: list[Any] = client.mget([_key(_text(name)) for name in names])
    found = []
    for name, entry in zip(names, entries, strict=True):
        if entry is None:
            continue
        try:
            found.append(LiveWorker.model_validate_json(entry))
        except ValidationError as error:
            log.warning("Expected an entry of a worker in %s, found: %s", _key(_text(name)), error)
    return sorted(found, key=lambda worker: worker.name)


def read_one(client: redis.Redis, name: str) -> tuple[LiveWorker | None, float]:
    """Return a worker, None when it does not live, and when it last told of itself (ms).

    Two entries of different times are two looks of the worker at itself.
    """
    with client.pipeline(transaction=True) as pipeline:
        pipeline.get(_key(name))
        pipeline.zscore(NAMES, name)
        entry, beat = pipeline.execute()
    return (None if entry is None else LiveWorker.model_validate_json(entry)), beat or 0.0


def unserved(fleet: Fleet, live: Iterable[LiveWorker]) -> list[str]:
    """Return the queues that no live worker consumes, highest priority first."""
    served = {queue for worker in live for queue in worker.queues if worker.concurrency}
    return [name for name in fleet.queues if name not in served]


def _key(name: str) -> str:
    return f"airlane:worker:{name}"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _now() -> int:
    return int(time.time() * 1000)
