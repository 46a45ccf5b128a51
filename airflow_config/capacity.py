"""Capacity follows the workers: the slots of each queue's pool are those of the live workers.

Runs in the scheduler's process, called by the executor. Pools are written on change only, because
the scheduler locks their rows in every loop; while the registry is out of reach they keep their
values, because work may well go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import redis

from airflow_config import live_workers, pools
from airflow_config.live_workers import LiveWorker
from airflow_config.queues import Fleet

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)

#: Seconds between looks at the registry; after a look that failed, longer, for a look at a
#: broker that does not answer costs the scheduler `TIMEOUT` seconds each.
INTERVAL, AFTER_FAILURE = 2.0, 10.0
TIMEOUT = 0.5
#: Milliseconds to wait for a row that the scheduler beside this one has locked.
_LOCK_TIMEOUT = 100


def slots(fleet: Fleet, live: Iterable[LiveWorker]) -> dict[str, int]:
    """Return the slots of each queue's pool, for these workers.

    Never more than the largest fleet of queues.yaml has, because `[core] parallelism` is above
    the sum of those. A queue that no live worker consumes keeps the slots of one worker: its
    tasks are sent and seen waiting, and run at once when a worker comes.
    """
    workers = list(live)
    most = fleet.pool_slots(fleet.largest())
    unserved = live_workers.unserved(fleet, workers)
    found = {}
    for queue in fleet.queues:
        count = sum(worker.slots(queue) for worker in workers)
        if queue in unserved:
            count = max(count, pools.least(fleet, queue))
        found[queue] = min(count, most[queue])
    return found


class Capacity:
    """Keeps the pools' slots as the live workers are.

    Parameters
    ----------
    fleet
        The queue model.
    broker_url
        The broker, which holds the registry.
    clock
        Seconds that only grow.
    """

    def __init__(
        self, fleet: Fleet, broker_url: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fleet = fleet
        self._client = live_workers.connect(broker_url, TIMEOUT)
        self._clock = clock
        self._next = clock()
        self._trouble: str | None = None

    def tick(self) -> None:
        """Look, when it is time to, and write what changed; never raises.

        It opens a connection of its own, so that it may be called wherever no lock is held on a
        pool.
        """
        if self._clock() < self._next:
            return
        wait, trouble = INTERVAL, None
        try:
            self._follow()
        except redis.RedisError as error:
            wait, trouble = AFTER_FAILURE, f"the registry of live workers is out of reach ({error})"
        except Exception as error:
            # whatever it is, tasks must go on being scheduled
            first = str(error).partition("\n")[0]
            trouble = f"pools were not written ({type(error).__name__}: {first})"
        self._tell(trouble)
        self._next = self._clock() + wait

    def close(self) -> None:
        """Let go of the broker."""
        self._client.close()

    def _follow(self) -> None:
        from airflow import settings  # noqa: PLC0415 - its engine is made when Airflow starts

        wanted = slots(self._fleet, live_workers.read(self._client))
        for change in write(settings.get_engine(), wanted):
            log.info("Capacity: %s", change)

    def _tell(self, trouble: str | None) -> None:
        if trouble and trouble != self._trouble:
            log.warning("Pools keep their slots: %s", trouble)
        elif self._trouble and not trouble:
            log.info("Pools follow the live workers again")
        self._trouble = trouble


def write(engine: Engine, wanted: Mapping[str, int]) -> list[str]:
    """Give pools their slots, and say in words what changed.

    Raises
    ------
    sqlalchemy.exc.OperationalError
        When another scheduler holds the rows: the next look will do.
    """
    # Here, because it loads Airflow's ORM, and the planner needs none of it.
    from airflow.models.pool import Pool  # noqa: PLC0415
    from sqlalchemy import select, text, update  # noqa: PLC0415

    with engine.connect() as connection:
        rows: Any = connection.execute(select(Pool.pool, Pool.slots).where(Pool.pool.in_(wanted)))
        stale = {name: had for name, had in rows if had != wanted[name]}
        if not stale:
            return []
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT}"))
        # always in the same order: two schedulers must not wait for each other
        for name in sorted(stale):
            connection.execute(update(Pool).where(Pool.pool == name).values(slots=wanted[name]))
        connection.commit()
    return [f"pool {name}: {had} -> {wanted[name]} slots" for name, had in sorted(stale.items())]
