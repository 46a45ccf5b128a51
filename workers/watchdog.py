"""A worker tells systemd that it consumes; one that does not is ended and started anew.

A worker can be connected, answer a ping, and take nothing (celery#8030, airflow#63580: 302 tasks
waited for 14 hours). So what counts is consumption: messages lie in its queues, it has a free
process, and still it takes none. Nobody's fault are a broker that is away, a worker that is told
to stop or to drain, and long tasks: then there is nothing to end.

A thread looks, because the event loop stands still while Celery connects to a broker that is away,
and running tasks must survive that.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

import redis
from celery.signals import heartbeat_sent, worker_ready, worker_shutting_down

from airflow_config import live_workers, systemd

log = logging.getLogger(__name__)

#: Seconds between looks; the watchdog's own time must be longer.
LOOK = 5.0
#: Seconds that messages may lie while a process is free.
STALL = 30.0
#: Seconds without a beat of the event loop (one every two) while the broker answers. Celery tries
#: to connect anew after at most 30 s (kombu's `interval_max`).
SILENCE = 60.0
#: Seconds that a look waits for the broker.
TIMEOUT = 2.0


@dataclass(frozen=True)
class Sight:
    """What one look saw.

    Parameters
    ----------
    at
        When (seconds that only grow).
    beat
        When the event loop gave its last sign.
    waiting
        Messages in the queues that the worker consumes; None when the broker does not answer.
    free
        Processes without a task.
    taken
        Messages taken since the start.
    leaving
        Whether it was told to stop, or consumes nothing because it is being drained.
    """

    at: float
    beat: float
    waiting: int | None
    free: int
    taken: int
    leaving: bool


class Consumption:
    """Judges from one look to the next whether a worker gets on."""

    def __init__(self) -> None:
        self._taken = -1
        #: Since when it could have taken a message and did not.
        self._stalled: float | None = None
        #: When the broker was away the last time.
        self._away = float("-inf")

    def goes_on(self, sight: Sight) -> bool:
        """Tell whether the worker consumes, or has good reason not to."""
        taken, self._taken = self._taken, sight.taken
        if sight.waiting is None:
            self._away = sight.at
        if sight.waiting is None or sight.leaving:
            self._stalled = None
            return True
        if sight.at - max(sight.beat, self._away) > SILENCE:
            return False
        if not sight.waiting or sight.free <= 0 or sight.taken != taken:
            self._stalled = None
            return True
        if self._stalled is None:
            self._stalled = sight.at
        return sight.at - self._stalled <= STALL


class Watchdog:
    """Looks after this worker, in a thread of its own.

    Parameters
    ----------
    service
        This process as systemd knows it.
    """

    def __init__(self, service: systemd.Service) -> None:
        self._service = service
        self._consumption = Consumption()
        self._consumer: Any = None
        self._client: redis.Redis | None = None
        self._beat = 0.0
        self._stopping = False
        self._said = False

    def connect(self) -> None:
        """Have Celery's signals start and feed it."""
        worker_ready.connect(self._ready, weak=False)
        heartbeat_sent.connect(self._note_beat, weak=False)
        worker_shutting_down.connect(self._note_stop, weak=False)

    def _ready(self, sender: Any = None, **_: object) -> None:
        self._consumer = sender
        self._client = live_workers.connect(sender.app.conf.broker_url, TIMEOUT)
        self._beat = time.monotonic()
        self._service.progress()
        threading.Thread(target=self._watch, name="airlane-watchdog", daemon=True).start()

    def _note_beat(self, **_: object) -> None:
        self._beat = time.monotonic()

    def _note_stop(self, **_: object) -> None:
        self._stopping = True

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK)
            try:
                goes_on = self._consumption.goes_on(self._look())
            except Exception:
                # what it cannot judge it must not end
                log.exception("The watchdog could not look after this worker")
                goes_on = True
            if goes_on:
                self._service.progress()
            elif not self._said:
                log.error(
                    "This worker has a free process and takes no message although there are some, "
                    "or its event loop hangs: systemd ends it soon and starts it anew"
                )
            self._said = not goes_on

    def _look(self) -> Sight:
        from celery.worker import state  # noqa: PLC0415 - the scheduler comes by here too

        # Between two connections there is none.
        consumer = self._consumer.task_consumer
        queues = [queue.name for queue in consumer.queues] if consumer else None
        return Sight(
            at=time.monotonic(),
            beat=self._beat,
            waiting=self._waiting(queues or []),
            free=self._consumer.pool.num_processes - len(state.reserved_requests),
            taken=sum(state.total_count.values()),
            leaving=self._stopping or queues == [],
        )

    def _waiting(self, queues: list[str]) -> int | None:
        if self._client is None:
            return None
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.ping()
                for queue in queues:
                    pipeline.llen(queue)
                _, *lengths = pipeline.execute()
        except redis.RedisError:
            return None
        return sum(lengths)


def connect(worker_class: str | None) -> None:
    """Have a worker of this class be watched where systemd wants it."""
    service = systemd.service()
    if worker_class is not None and service.supervised:
        Watchdog(service).connect()
