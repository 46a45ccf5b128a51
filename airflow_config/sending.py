"""How the scheduler sends tasks to Celery: the messages of one loop in one pipeline.

Airflow's provider sends each message alone, or forks a pool of processes that do. kombu gathers
the messages of one producer into a pipeline (`Producer.batch`, since 5.7).

Celery subscribes a sender to the result of all that it sends, for as long as it lives, and one
that asks for states instead, as Airflow does, never reads what comes: neither process forgets a
task. Senders that are not to wait for results (`denied_join_result`) are not subscribed.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.celery.executors import celery_executor_utils
from airflow.sdk.exceptions import AirflowTaskTimeout
from celery.result import denied_join_result

if TYPE_CHECKING:
    from airflow.providers.celery.executors.celery_executor_utils import (
        WorkloadInCelery,
        WorkloadInCeleryResult,
    )
    from celery import Celery


def send(app: Celery, workloads: Sequence[WorkloadInCelery]) -> list[WorkloadInCeleryResult]:
    """Send tasks and callbacks to their queues, in the order given.

    A pipeline that the broker refuses in part is sent again message by message, under the same
    Celery ids, so that each task is told its own error; of two messages of one task a worker
    ignores the second. Of a callback it would run both, so those are never sent in a pipeline.

    Parameters
    ----------
    app : Celery
        The executor's.
    workloads : sequence of (key, workload, queue, team)
        As CeleryExecutor hands them to `_send_workloads_to_celery`.

    Returns
    -------
    list of (key, arguments, result)
        As that method returns them: a result is Celery's, or the error with its traceback. All
        have the time-out of `[celery] operation_timeout` together, and share its error.
    """
    with denied_join_result():
        if len(workloads) > 1 and all(hasattr(workload, "ti") for _, workload, *_ in workloads):
            try:
                with celery_executor_utils.timeout(seconds=celery_executor_utils.OPERATION_TIMEOUT):
                    return _in_one_pipeline(app, workloads)
            except AirflowTaskTimeout as late:
                error = celery_executor_utils.ExceptionWithTraceback(late, traceback.format_exc())
                return [(key, workload, error) for key, workload, *_ in workloads]
            except Exception:  # noqa: S110 - it is told by the messages sent alone
                pass
        return [celery_executor_utils.send_workload_to_executor(workload) for workload in workloads]


def celery_id(workload: Any) -> str | None:
    """Return the Celery id that the scheduler wrote with a queued task; None for a callback."""
    return getattr(getattr(workload, "ti", None), "external_executor_id", None)


def _in_one_pipeline(
    app: Celery, workloads: Sequence[WorkloadInCelery]
) -> list[WorkloadInCeleryResult]:
    task = app.tasks["execute_workload"]
    sent: list[Any] = []
    with app.producer_or_acquire() as producer, producer.batch():
        for key, workload, queue, _ in workloads:
            arguments = (workload.model_dump_json(),)
            result = task.apply_async(
                args=arguments, queue=queue, task_id=celery_id(workload), producer=producer
            )
            sent.append((key, arguments, result))
    return sent
