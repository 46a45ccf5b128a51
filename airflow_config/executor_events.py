"""What an executor saw ending, without what the database has already.

For each task that ended the scheduler loads the task, its run, its DAG and their versions, only to
find nearly always that the task itself has told its end (`SchedulerJobRunner
.process_executor_events`). It does something only for a task that the database does not know to
have ended: it was killed.
"""

from __future__ import annotations

from typing import Any

from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

_ENDED = frozenset({TaskInstanceState.SUCCESS, TaskInstanceState.FAILED})
#: In these states the scheduler looks at why its executor is done with a task.
_UNDER_WAY = (
    TaskInstanceState.SCHEDULED,
    TaskInstanceState.QUEUED,
    TaskInstanceState.RUNNING,
    TaskInstanceState.RESTARTING,
)


def drop_known(events: dict[Any, Any]) -> None:
    """Take events away of tasks that the database knows to be over, or to wait."""
    ended = [
        key
        for key, (state, _) in events.items()
        if isinstance(key, TaskInstanceKey) and state in _ENDED
    ]
    if not ended:
        return
    columns = (
        TaskInstance.dag_id,
        TaskInstance.task_id,
        TaskInstance.run_id,
        TaskInstance.map_index,
    )
    query = select(*columns).where(
        TaskInstance.filter_for_tis(ended), TaskInstance.state.in_(_UNDER_WAY)
    )
    # Not the scheduler's own session, which the caller is about to use.
    with create_session(scoped=False) as session:
        under_way = {tuple(row) for row in session.execute(query)}
    for key in ended:
        if (key.dag_id, key.task_id, key.run_id, key.map_index) not in under_way:
            del events[key]
