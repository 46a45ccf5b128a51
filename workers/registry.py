"""A worker tells the registry that it lives, what it consumes and how much it can run.

By Celery's signals: `heartbeat_sent` comes every two seconds from the worker's event loop, so
that a worker whose loop hangs is not taken for a live one. A worker that is told to stop
consumes nothing more, but the tasks that it still runs hold slots of their pools: until its end it
tells how many.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import redis
from celery.signals import (
    heartbeat_sent,
    task_received,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from airflow_config import canary, live_workers
from airflow_config.live_workers import LiveWorker, RunningTask
from workers import arguments

log = logging.getLogger(__name__)

#: Seconds that the event loop, which starts tasks too, waits for the broker at most.
TIMEOUT = 1.0
#: Seconds between beats of a worker that stops.
BEAT = 2.0


class Registration:
    """The entry of this process in the registry.

    Parameters
    ----------
    worker_class
        The class that it serves.
    """

    def __init__(self, worker_class: str) -> None:
        self._worker_class = worker_class
        self._release = version("airlane")
        self._consumer: Any = None
        self._client: redis.Redis | None = None
        self._stopping = False
        self._ended = threading.Event()
        self._reached = True
        self._taken_at: datetime | None = None

    def connect(self) -> None:
        """Have Celery's signals keep the entry."""
        worker_ready.connect(self._ready, weak=False)
        heartbeat_sent.connect(self._beat, weak=False)
        task_received.connect(self._take, weak=False)
        worker_shutting_down.connect(self._stop, weak=False)
        worker_shutdown.connect(self._end, weak=False)

    def _ready(self, sender: Any = None, **_: object) -> None:
        self._consumer = sender
        self._client = live_workers.connect(sender.app.conf.broker_url, TIMEOUT)
        self._write()

    def _take(self, **_: object) -> None:
        self._taken_at = datetime.now(UTC)

    def _beat(self, **_: object) -> None:
        if self._consumer is not None and not self._stopping:
            self._write()

    def _stop(self, **_: object) -> None:
        # In a signal handler, where the process may be in the middle of anything: the entry is
        # written by a thread of its own.
        if self._consumer is not None and not self._stopping:
            self._stopping = True
            threading.Thread(target=self._drain, name="airlane-registry", daemon=True).start()

    def _drain(self) -> None:
        self._write()
        while not self._ended.wait(BEAT):
            self._write()

    def _end(self, **_: object) -> None:
        self._ended.set()
        if self._client is not None:
            self._tell(lambda client: live_workers.remove(client, self._consumer.hostname))

    def _write(self) -> None:
        self._tell(lambda client: live_workers.write(client, self._entry()))

    def _tell(self, words: Any) -> None:
        """Speak to the broker; a worker must run its tasks also when it does not answer."""
        try:
            words(self._client)
        except Exception as error:
            if self._reached:
                log.warning("The registry of live workers is out of reach: %s", error)
            self._reached = False
        else:
            self._reached = True

    def _entry(self) -> LiveWorker:
        consumer = self._consumer
        queues: tuple[str, ...] = ()
        if not self._stopping:
            consumed = (queue.name for queue in consumer.task_consumer.queues)
            queues = tuple(sorted(name for name in consumed if not canary.is_own_queue(name)))
        taken = _taken()
        return LiveWorker(
            name=consumer.hostname,
            worker_class=self._worker_class,
            host=socket.gethostname(),
            concurrency=consumer.pool.num_processes,
            queues=queues,
            held=_held(taken, besides=queues),
            running=len(taken),
            longest_s=_longest(taken),
            release=self._release,
            tasks=tuple(map(_told, taken)),
            taken_at=self._taken_at,
        )


def _held(taken: list[Any], besides: tuple[str, ...]) -> dict[str, int]:
    """Count the tasks that run, by queue, of queues other than these."""
    found = Counter(request.delivery_info.get("routing_key") for request in taken)
    return {name: count for name, count in found.items() if name and name not in besides}


def _told(request: Any) -> RunningTask:
    """Tell of a task that runs, by the description that its message came with."""
    start = request.time_start
    return RunningTask(
        task=arguments.told(request.argsrepr),
        queue=request.delivery_info.get("routing_key") or "",
        since=datetime.fromtimestamp(start, UTC) if start else None,
    )


def _longest(taken: list[Any]) -> float:
    """Return the seconds for which the longest of these tasks has run."""
    starts = [request.time_start for request in taken if request.time_start]
    return round(max(0.0, time.time() - min(starts)), 1) if starts else 0.0


def _taken() -> list[Any]:
    """Return the tasks that run, and those that were just handed over and have not begun."""
    from celery.worker import state  # noqa: PLC0415 - the scheduler and Flower come by here too

    while True:
        try:
            return list(state.reserved_requests)
        except RuntimeError:
            # a task ended in the meantime, in another thread
            continue


def connect(worker_class: str | None) -> None:
    """Have a worker of this class tell that it lives; nothing happens in other processes."""
    if worker_class is not None:
        Registration(worker_class).connect()
