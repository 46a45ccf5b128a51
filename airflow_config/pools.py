"""Airflow's pools as the queue model wants them: one per queue, named like it.

A pool keeps the backlog in the metadata database, where priority still counts: no more tasks of
a queue are sent to the broker than workers can run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_config.located_yaml import Path
from airflow_config.queues import Fleet, Share

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True)
class DesiredPool:
    """A pool that must be there.

    Parameters
    ----------
    name, slots, description
        As Airflow has them.
    why
        Where the slots come from, in words.
    keys
        The keys of queues.yaml that they follow from.
    """

    name: str
    slots: int
    description: str
    why: str
    keys: tuple[Path, ...]


def desired_pools(fleet: Fleet, counts: Mapping[str, int] | None = None) -> list[DesiredPool]:
    """Return the pool of each queue, for the workers in `counts` (see `Fleet.pool_slots`)."""
    shares = fleet.pool_shares(counts)
    found = []
    for name, queue in fleet.queues.items():
        slots = sum(share.slots for share in shares[name])
        keys = [("workers", share.worker_class, "concurrency") for share in shares[name]]
        found.append(
            DesiredPool(
                name,
                slots or least(fleet, name),
                f"Queue {name}, by airlane. {queue.description}".strip(),
                " + ".join(_words(fleet, share) for share in shares[name] if share.slots)
                or "no worker serves it: those of one, so that its tasks are seen waiting",
                tuple(keys),
            )
        )
    return found


def _words(fleet: Fleet, share: Share) -> str:
    concurrency = fleet.workers[share.worker_class].concurrency
    kind = "lent by" if share.lent else "of"
    workers = "1 worker" if share.workers == 1 else f"{share.workers} workers"
    return f"{share.slots} {kind} {share.worker_class} ({workers} x concurrency {concurrency})"


def least(fleet: Fleet, queue: str) -> int:
    """Return the slots of a queue that no worker serves: those of one worker of its own.

    Its tasks are sent and seen waiting, instead of being held back unseen.
    """
    serving = [worker for name, worker in fleet.workers.items() if queue in fleet.consumes(name)]
    own = [worker for worker in serving if worker.home == queue]
    return min((worker.concurrency for worker in own or serving), default=0)


def ensure_pools(
    fleet: Fleet,
    session: Session,
    counts: Mapping[str, int] | None = None,
    *,
    keep_slots: bool = False,
) -> list[str]:
    """Make and put right the pools of all queues, and say in words what changed.

    Rows are written only on change, because the scheduler locks them in every loop. Pools of
    other names are left alone: tasks of a queue that is gone may still be in one of them.

    Parameters
    ----------
    fleet
        The queue model.
    session
        Of the metadata database; the caller commits.
    counts
        Workers of each class; by default those of one machine.
    keep_slots
        Leave the slots of pools that are there as they are.
    """
    # Here, because it loads Airflow's ORM, and `desired_pools` needs none of it.
    from airflow.models.pool import Pool  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    found = {pool.pool: pool for pool in session.scalars(select(Pool))}
    changes = []
    for desired in desired_pools(fleet, counts):
        pool = found.get(desired.name)
        if pool is None:
            # A listener that waits in the triggerer must not hold a worker's slot.
            session.add(
                Pool(
                    pool=desired.name,
                    slots=desired.slots,
                    description=desired.description,
                    include_deferred=False,
                )
            )
            changes.append(f"pool {desired.name}: made with {desired.slots} slots")
            continue
        if pool.slots != desired.slots and not keep_slots:
            changes.append(f"pool {desired.name}: {pool.slots} -> {desired.slots} slots")
            pool.slots = desired.slots
        if pool.description != desired.description or pool.include_deferred:
            changes.append(f"pool {desired.name}: description and kind put right")
            pool.description = desired.description
            pool.include_deferred = False
    session.flush()
    return changes
