"""Celery processes that are replaced by age: between two tasks, as after a number of tasks.

Celery counts tasks and memory only, and has no setting for time. What it supports is a pool of
one's own (`worker_pool`), whose processes say themselves when they want no more. Read from Celery
5.6.3 and billiard 4.3.2: `misfits` compares, and Celery's own pool is used when anything differs.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any

from billiard import pool as billiard_pool  # type: ignore[import-untyped]
from celery.concurrency import asynpool, prefork

from airflow_config import sources

log = logging.getLogger(__name__)

#: sha256 (first 16 digits) of the source of what is overridden or relied on.
SOURCES = {
    "billiard.Worker.__call__": "7ac3400e5a1cd31d",
    "billiard.Worker.workloop": "ce4a856cce2b9e10",
    "billiard.Worker._make_child_methods": "77aa0671e34149a7",
    "billiard.Worker._make_protected_receive": "b74e32db1f2b63f9",
    "billiard.Pool._join_exited_workers": "c9b857c8a7980f66",
    "celery.Worker": "246bdb24dc94911e",
    "celery.AsynPool.on_job_process_down": "ac53c414f3420b95",
    "celery.AsynPool.on_partial_read": "99d11508d733afff",
    "prefork.TaskPool": "3db7b2ddacc67d20",
}


def misfits() -> list[str]:
    """Return what is not as it was read; empty when all of it is."""
    owners = {"billiard": billiard_pool, "celery": asynpool, "prefork": prefork}
    return sources.differences(SOURCES, owners)


class AgingWorker(asynpool.Worker):
    """A pool's process that takes no further task when it has reached its age."""

    #: Seconds.
    age: float = float("inf")
    #: Made by billiard before the loop starts.
    wait_for_job: Callable[[], Any]

    def on_loop_start(self, pid: int) -> None:
        """Have the loop ask for the next task through the clock."""
        super().on_loop_start(pid)
        # Not all of a worker's processes at once: they have started together.
        end = time.monotonic() + self.age * random.uniform(1, 1.25)  # noqa: S311
        receive = self.wait_for_job
        begun = False

        def wait_for_job() -> Any:
            nonlocal begun
            # Only after a task, so that an age that is too short still lets each of them run.
            if begun and time.monotonic() >= end:
                log.info("Taking no more tasks: this process has run for its time")
                raise SystemExit(billiard_pool.EX_OK)
            found = receive()
            begun = begun or found is not None
            return found

        self.wait_for_job = wait_for_job


class AgingPool(asynpool.AsynPool):
    """A pool of such processes."""

    Worker = AgingWorker


class TaskPool(prefork.TaskPool):
    """Celery's pool of processes, with those that age."""

    Pool = AgingPool


def pool(age: float) -> str:
    """Return what `worker_pool` should be, so that processes are replaced at an age.

    Parameters
    ----------
    age
        Seconds; each process adds up to a quarter of it. It then ends after the task that it runs,
        or after its next one.
    """
    if found := misfits():
        log.error(
            "Celery processes are replaced after a number of tasks only, not by age: "
            "workers/aging_pool.py does not fit the installed Celery. Fix: read it anew against "
            "what differs:\n  %s",
            "\n  ".join(found),
        )
        return "prefork"
    AgingWorker.age = age
    return f"{__name__}:{TaskPool.__name__}"
