"""What waits and runs in each queue now, and what is kept of its promise."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import redis

from airflow_config import live_workers
from airflow_config.queue_entries import Promise
from airflow_config.queues import Fleet
from airlane.queue_history import History

#: The parts of a promise, in the order of `queues.yaml`.
PROMISES = ("end_to_end", "task", "gap")


@dataclass(frozen=True)
class QueueState:
    """One queue as `airlane queues` shows it.

    Parameters
    ----------
    name, priority
        From queues.yaml.
    waiting
        Messages in the Redis list: sent, not yet taken by a worker.
    unacked
        Messages that a worker has taken and not finished.
    oldest_s
        Seconds since the longest waiting task was ready; None when none waits.
    scheduled
        Tasks that wait in Airflow for a slot of the pool, by priority.
    running
        Tasks that run.
    slots_used, slots_total
        Of the queue's pool.
    workers
        Live workers that consume the queue.
    arrivals_per_minute, completions_per_minute
        Tasks that became ready, and tries that ended: means of the last five minutes.
    promise
        Seconds of `end_to_end`, `task` and `gap`; None where the queue promises nothing.
    kept
        What was kept of each of them in the last hour: `count`, `kept`, `share`.
    """

    name: str
    priority: int
    waiting: int
    unacked: int
    oldest_s: float | None
    scheduled: int
    running: int
    slots_used: int
    slots_total: int
    workers: int
    arrivals_per_minute: float
    completions_per_minute: float
    promise: dict[str, float] | None
    kept: dict[str, dict[str, Any]] | None

    def to_json(self) -> dict[str, Any]:
        """Return what `airlane queues --json` prints."""
        return asdict(self)


def queue_states(fleet: Fleet, broker: redis.Redis, lately: dict[str, History]) -> list[QueueState]:
    """Return every queue, highest priority first.

    Parameters
    ----------
    fleet
        The queue model.
    broker
        A client of the broker.
    lately
        What `airlane.queue_history.Historian.look` saw.
    """
    unacked: Counter[str] = Counter()
    for class_name in fleet.workers:
        unacked += _unacked(broker, class_name)
    live = live_workers.read(broker)
    waiting = {name: int(broker.llen(name)) for name in fleet.queues}
    found = []
    for name, queue in fleet.queues.items():
        seen = lately[name]
        found.append(
            QueueState(
                name=name,
                priority=queue.priority,
                waiting=waiting[name],
                unacked=unacked[name],
                oldest_s=seen.oldest_s,
                scheduled=seen.scheduled,
                running=seen.running,
                slots_used=seen.queued + seen.running,
                slots_total=seen.slots,
                workers=sum(name in worker.queues for worker in live),
                arrivals_per_minute=seen.arrivals_per_minute,
                completions_per_minute=seen.completions_per_minute,
                promise=_promise(queue.promise),
                kept=_kept(seen) if queue.promise else None,
            )
        )
    return found


def _promise(promise: Promise | None) -> dict[str, float] | None:
    if promise is None:
        return None
    return {name: getattr(promise, name).total_seconds() for name in PROMISES}


def _kept(seen: History) -> dict[str, dict[str, Any]]:
    found = {name: getattr(seen, name) for name in PROMISES}
    return {name: kept.to_json() for name, kept in found.items() if kept is not None}


def _unacked(broker: redis.Redis, class_name: str) -> Counter[str]:
    """Count by queue what a class's workers hold; kombu keeps (message, exchange, queue)."""
    held: Any = broker.hvals(f"unacked:{class_name}")
    return Counter(json.loads(value)[2] for value in held)
