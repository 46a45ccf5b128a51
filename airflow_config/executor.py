"""The executor: Airflow's CeleryExecutor, whose scheduler waits for changes.

Set by `[core] executor`. What users rely on in CeleryExecutor (adoption after a restart of the
scheduler, tasks stuck in queued, callbacks, revocation) is inherited and unchanged.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from airflow.providers.celery.executors.celery_executor import CeleryExecutor
from airflow.utils.state import TaskInstanceState

from airflow_config import canary, queues, systemd
from airflow_config.capacity import Capacity
from airflow_config.wakeup import WakeUp

if TYPE_CHECKING:
    from airflow.providers.celery.executors.celery_executor_utils import (
        WorkloadInCelery,
        WorkloadInCeleryResult,
    )

#: Seconds between loops of a scheduler that could not be bounded and is not woken.
POLL = 0.05
#: Seconds that an idle loop of such a scheduler waits at most when it is woken.
IDLE = 1.0


class AirlaneExecutor(CeleryExecutor):
    """CeleryExecutor whose scheduler waits for changes instead of sleeping.

    `start` is called in a scheduler only, so nothing is touched in the API server, the DAG
    processor and the workers, which load the class too.
    """

    _wakeup: WakeUp | None = None
    _capacity: Capacity | None = None
    #: The scheduler's own loop waits; otherwise `heartbeat` does.
    _bounded = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Tasks just sent whose Celery id stands in the database.
        self._written: set[Any] = set()

    def start(self) -> None:
        """Connect what wakes the scheduler, and bound its loop."""
        super().start()
        # Not at the top: it imports the scheduler, which other parts do without.
        from airflow import settings  # noqa: PLC0415 - its engine is made when Airflow starts

        from airflow_config import fresh_connections, scheduler_fit, scheduler_loop  # noqa: PLC0415

        fleet = queues.load()
        self._wakeup = WakeUp(listening_connection)
        broker = self.conf.get_mandatory_value("celery", "broker_url")
        try:
            self._capacity = Capacity(fleet, broker)
        except ValueError:
            self.log.error(
                "airlane does not fit the pools to the live workers: expected a redis://, "
                "rediss:// or unix:// address in [celery] broker_url, found %s://. "
                "Fix: use Redis or Valkey as the broker, or set the slots of the pools by hand",
                broker.partition("://")[0],
            )
        # A second start in one process must not take our own functions for Airflow's.
        scheduler_loop.withdraw()
        problems = scheduler_fit.misfits()
        if problems:
            self.log.error(
                "airlane does not bound this scheduler's loop, urgent work may wait behind batch "
                "work: the installed Airflow is not the one that was read (%s). "
                "Fix: install the locked Airflow, or a release of airlane that knows this one",
                "; ".join(problems),
            )
            return
        scheduler_loop.SchedulerLoop(fleet, self._wakeup).install()
        fresh_connections.trust(settings.get_engine())
        self._bounded = True
        # What is loaded now stays: a full collection looks at all of it, for a quarter of a second.
        gc.collect()
        gc.freeze()

    def heartbeat(self) -> None:
        """Send what is queued, look for what ended; wait here when the loop itself does not."""
        super().heartbeat()
        if self._capacity is not None:
            self._capacity.tick()
        # Once in each loop, idle or not; a loop that hangs does not come here.
        systemd.service().progress()
        if self._bounded or self._wakeup is None or self.event_buffer:
            return
        self._wakeup.wait(IDLE if self._wakeup.listening else POLL)

    def end(self, synchronous: bool = False) -> None:
        """Let go of the connections that `start` made."""
        super().end(synchronous)
        if self._wakeup is not None:
            self._wakeup.close()
        if self._capacity is not None:
            self._capacity.close()

    def get_event_buffer(self, dag_ids: Any = None) -> dict[Any, Any]:
        """Return what happened since the last call, without what the database has already.

        Airflow 3.3 writes a task's Celery id when it sets the task to queued. The event that says
        it again makes the scheduler load the task with its run and all that belongs to it; so does
        the end of a task that has told its end itself.
        """
        events: dict[Any, Any] = super().get_event_buffer(dag_ids)
        if self._bounded:
            for key in self._written & events.keys():
                if events[key][0] == TaskInstanceState.QUEUED:
                    del events[key]
            # Not at the top: Airflow's models are not there yet when its settings read this.
            from airflow_config.executor_events import drop_known  # noqa: PLC0415

            drop_known(events)
        self._written.clear()
        return events

    def _send_workloads_to_celery(
        self, workload_tuples_to_send: Sequence[WorkloadInCelery]
    ) -> list[WorkloadInCeleryResult]:
        """Send from this process, whatever `sync_parallelism` says.

        Airflow starts a pool of processes for each batch of messages on a machine with more than
        two cores; forking it costs more than sending what the pools allow in one loop.
        """
        # Not at the top: it makes a Celery app, which parts that only load this class do without.
        from airflow_config import sending  # noqa: PLC0415

        for key, workload, *_ in workload_tuples_to_send:
            if sending.celery_id(workload):
                self._written.add(key)
        # a canary goes to the one worker that it is meant for
        routed = [canary.route(item) for item in workload_tuples_to_send]
        return sending.send(self.celery_app, routed)


def listening_connection() -> psycopg.Connection[Any]:
    """Return a new connection to Airflow's metadata database, made as Airflow makes its own.

    Raises
    ------
    TypeError
        When Airflow's driver is another one than psycopg 3.
    """
    from airflow import settings  # noqa: PLC0415 - its engine is made when Airflow starts

    pooled = settings.get_engine().raw_connection()
    connection = pooled.driver_connection
    # The pool forgets it: it stays with the one who listens.
    pooled.detach()
    if not isinstance(connection, psycopg.Connection):
        raise TypeError(
            "expected psycopg 3 as the driver of the metadata database, found "
            f"{type(connection).__module__}. Fix: [database] sql_alchemy_conn = "
            "postgresql+psycopg://..."
        )
    return connection
