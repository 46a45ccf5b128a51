"""Whether a worker takes work: a file on its host says so, and the worker looks at every beat.

While the file is there the worker consumes its own queue only (`airflow_config.canary`), finishes
what it has, and tells the registry how much that is. The file outlives the worker: one that was
taken off duty comes back off duty after a restart, an upgrade or a reboot, takes a canary, and
takes work again when the file is gone.

A file rather than Celery's remote control: a message to a worker is lost when the broker is out
of reach or the worker restarts, and Celery 5.6 forgets queues that were cancelled and added again
when it connects anew (`Consumer.add_task_queue` does not select them): the worker then stays
connected and consumes nothing. Here the difference is seen and mended at the next beat.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from celery.signals import (
    celeryd_after_setup,
    heartbeat_sent,
    worker_ready,
    worker_shutting_down,
)

from airflow_config import canary

log = logging.getLogger(__name__)

#: Names the file; without it a worker is always on duty.
VARIABLE = "AIRLANE_OFF_DUTY"


def is_off_duty() -> bool:
    """Tell whether the file is there."""
    file = os.environ.get(VARIABLE)
    return bool(file) and Path(file or "").exists()


def queues(served: Iterable[str], node: str) -> tuple[str, ...]:
    """Return what a worker consumes now, in order: its own queue, and its class's when on duty.

    Parameters
    ----------
    served
        The queues of its class, most urgent first.
    node
        Its node name.
    """
    own = canary.own_queue(node)
    return (own,) if is_off_duty() else (own, *served)


class Duty:
    """Has a worker consume what it should: from its start on, and looked at with each beat.

    Parameters
    ----------
    served
        The queues of its class, most urgent first.
    """

    def __init__(self, served: Iterable[str]) -> None:
        self._served = tuple(served)
        self._consumer: Any = None
        self._stopping = False

    def connect(self) -> None:
        """Have Celery's signals look after it."""
        celeryd_after_setup.connect(self._begin, weak=False)
        worker_ready.connect(self._ready, weak=False)
        heartbeat_sent.connect(self._look, weak=False)
        worker_shutting_down.connect(self._stop, weak=False)

    def _begin(self, sender: str = "", instance: Any = None, **_: object) -> None:
        # After the command line, which says the class's queues whatever the duty: what a part
        # runs is compared with what it should run, and duty is no part of that.
        instance.app.amqp.queues.select(queues(self._served, sender))

    def _ready(self, sender: Any = None, **_: object) -> None:
        self._consumer = sender

    def _stop(self, **_: object) -> None:
        self._stopping = True

    def _look(self, **_: object) -> None:
        """Compare and put right; in the event loop, where Celery's own commands run too."""
        consumer = self._consumer
        # without a connection there is nothing to consume from; it comes back with a new one
        if consumer is None or self._stopping or consumer.task_consumer is None:
            return
        try:
            self._fit(consumer, queues(self._served, consumer.hostname))
        except Exception as error:
            # whatever it is, the tasks that run must go on
            log.warning("The queues were not changed, the next beat tries again: %s", error)

    def _fit(self, consumer: Any, wanted: tuple[str, ...]) -> None:
        consumed = [queue.name for queue in consumer.task_consumer.queues]
        if set(consumed) == set(wanted):
            return
        # kombu takes queues in the order in which they were added, and urgent ones must stay
        # first: when one is missing, those behind it are added anew.
        keep = 0
        while keep < len(consumed) and consumed[keep : keep + 1] == list(wanted[keep : keep + 1]):
            keep += 1
        for name in consumed[keep:]:
            # A message that was just under way goes back to its list (kombu rejects it).
            consumer.cancel_task_queue(name)
        # what is consumed after the next reconnect
        consumer.app.amqp.queues.select(wanted)
        for name in wanted[keep:]:
            consumer.add_task_queue(name)
        off = " (off duty)" if len(wanted) < 1 + len(self._served) else ""
        log.info("Consuming %s%s", ", ".join(wanted), off)


def connect(served: Iterable[str]) -> None:
    """Have this worker consume its own queue, and those of its class while it is on duty."""
    Duty(served).connect()
