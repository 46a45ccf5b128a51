"""What waits and runs in each queue now: from Airflow's pools, Redis and the live workers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import redis

from airflow_config import live_workers
from airflow_config.queues import Fleet
from airlane.airflow_client import AirflowClient


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
        Seconds since the oldest of the queued tasks was queued; None when none is.
    scheduled
        Tasks that wait in Airflow for a slot of the pool, by priority.
    running
        Tasks that run.
    slots_used, slots_total
        Of the queue's pool.
    workers
        Live workers that consume the queue.
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

    def to_json(self) -> dict[str, Any]:
        """Return what `airlane queues --json` prints."""
        return asdict(self)


def queue_states(fleet: Fleet, broker_url: str, client: AirflowClient) -> list[QueueState]:
    """Return every queue, highest priority first."""
    pools = client.pools()
    with redis.Redis.from_url(broker_url) as broker:
        unacked: Counter[str] = Counter()
        for class_name in fleet.workers:
            unacked += _unacked(broker, class_name)
        live = live_workers.read(broker)
        waiting = {name: int(broker.llen(name)) for name in fleet.queues}
    found = []
    for name, queue in fleet.queues.items():
        pool = pools.get(name, {})
        oldest = client.oldest_queued(name) if pool.get("queued_slots") else None
        found.append(
            QueueState(
                name=name,
                priority=queue.priority,
                waiting=waiting[name],
                unacked=unacked[name],
                oldest_s=_age(oldest),
                scheduled=pool.get("scheduled_slots", 0),
                running=pool.get("running_slots", 0),
                slots_used=pool.get("occupied_slots", 0),
                slots_total=pool.get("slots", 0),
                workers=sum(name in worker.queues for worker in live),
            )
        )
    return found


def _age(moment: str | None) -> float | None:
    if moment is None:
        return None
    since = datetime.fromisoformat(moment)
    return round(max(0.0, (datetime.now(UTC) - since).total_seconds()), 3)


def _unacked(broker: redis.Redis, class_name: str) -> Counter[str]:
    """Count by queue what a class's workers hold; kombu keeps (message, exchange, queue)."""
    held: Any = broker.hvals(f"unacked:{class_name}")
    return Counter(json.loads(value)[2] for value in held)
