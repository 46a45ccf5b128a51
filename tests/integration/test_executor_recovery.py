"""A scheduler was lost or a message was: what the next one does, on Airflow's own tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.callback import Callback
from airflow.models.dagbag import DBDagBag
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import JobState, TaskInstanceState
from sqlalchemy import select

from airflow_config.executor import AirlaneExecutor
from tests.executors import (
    callback_workload,
    celery_on,
    end_in_celery,
    give,
    messages,
    stock_afterwards,
    task_workload,
)
from tests.metadata_database import insert_dag, insert_run, insert_task

QUEUED, RUNNING, SUCCESS, FAILED = (
    TaskInstanceState.QUEUED,
    TaskInstanceState.RUNNING,
    TaskInstanceState.SUCCESS,
    TaskInstanceState.FAILED,
)


class Scheduler:
    """A scheduler of Airflow with airlane's executor, whose steps are taken one by one."""

    def __init__(self, writer: psycopg.Connection) -> None:
        self._writer = writer
        with create_session() as session:
            job = Job(job_type="SchedulerJob", state=JobState.RUNNING)
            session.add(job)
            session.commit()
            session.expunge(job)
        self.executor = AirlaneExecutor(parallelism=8)
        self.runner: Any = SchedulerJobRunner(job, executors=[self.executor])
        self.job_id = job.id
        self.executor.job_id = job.id
        self.executor.start()

    def queue(self, task_id: str, *, send: bool = True) -> str:
        """Queue a task as the critical section does; return the id of its message."""
        celery_id = str(uuid4())
        insert_task(self._writer, task_id, "r", "queued")
        self._writer.execute(
            "UPDATE task_instance SET queued_by_job_id = %s, external_executor_id = %s, "
            "queued_dttm = now() WHERE task_id = %s",
            [self.job_id, celery_id, task_id],
        )
        if send:
            give(self.executor, task_workload(task_id, celery_id=celery_id))
            self.executor.heartbeat()
            self.told()
        return celery_id

    def told(self) -> None:
        """Hand the executor's events over to the database."""
        with create_session() as session:
            SchedulerJobRunner.process_executor_events(
                executor=self.executor,
                job_id=self.job_id,
                scheduler_dag_bag=DBDagBag(),
                session=session,
            )

    def die(self) -> None:
        """Be killed: nothing is told to anybody, the row stays and its heartbeat gets old."""
        self._writer.execute(
            "UPDATE job SET latest_heartbeat = now() - interval '1 hour' WHERE id = %s",
            [self.job_id],
        )

    def adopt(self) -> int:
        """Take over what dead schedulers left; return how many tasks were reset."""
        return int(self.runner.adopt_or_reset_orphaned_tasks())


@pytest.fixture
def writer(writer: psycopg.Connection) -> psycopg.Connection:
    insert_dag(writer, "d")
    insert_run(writer, "r", "running")
    return writer


@pytest.fixture
def schedulers(metadata_orm: str, redis_url: str, writer: psycopg.Connection) -> Iterator[Any]:
    """Start one more scheduler."""
    found: list[Scheduler] = []

    def start() -> Scheduler:
        found.append(Scheduler(writer))
        return found[-1]

    with celery_on(redis_url), stock_afterwards():
        yield start
        for scheduler in found:
            scheduler.executor.end()


def rows() -> dict[str, TaskInstance]:
    """Return the tasks as the database has them, by task id."""
    with create_session() as session:
        found = {ti.task_id: ti for ti in session.scalars(select(TaskInstance))}
        session.expunge_all()
        return found


# ---- a scheduler is restarted


def test_the_next_scheduler_adopts_what_is_queued_runs_or_has_ended(
    schedulers: Any, broker: redis.Redis, writer: psycopg.Connection
) -> None:
    first = schedulers()
    ids = {name: first.queue(name) for name in ("queued", "running", "ended", "failed")}
    writer.execute("UPDATE task_instance SET state = 'running' WHERE task_id = 'running'")
    writer.execute("UPDATE task_instance SET state = 'success' WHERE task_id = 'ended'")
    first.die()
    # while nobody looks
    end_in_celery(first.executor, ids["running"], "STARTED")
    end_in_celery(first.executor, ids["ended"], "SUCCESS")
    end_in_celery(first.executor, ids["failed"], "FAILURE")
    second = schedulers()
    assert second.adopt() == 0
    keys = {name: ti.key for name, ti in rows().items()}
    # A task that has ended in the database is nobody's: it is not in a state to be adopted.
    assert second.executor.running == {keys["queued"], keys["running"]}
    told = {key: state for key, (state, _) in second.executor.event_buffer.items()}
    assert told == {keys["failed"]: FAILED}
    second.told()
    found = rows()
    assert {name: ti.state for name, ti in found.items()} == {
        "queued": QUEUED,
        "running": RUNNING,
        "ended": SUCCESS,
        "failed": FAILED,
    }
    for name in ("queued", "running"):
        assert found[name].queued_by_job_id == second.job_id
        assert found[name].external_executor_id == ids[name]
    assert len(messages(broker, "batch")) == len(ids), "nothing is sent a second time"
    # and from now on they are its own
    end_in_celery(second.executor, ids["queued"], "SUCCESS")
    second.executor.heartbeat()
    assert second.executor.event_buffer[keys["queued"]][0] == SUCCESS
    assert second.executor.running == {keys["running"]}


def test_a_message_that_was_never_sent_is_adopted_and_waited_for(
    schedulers: Any, broker: redis.Redis
) -> None:
    first = schedulers()
    first.queue("t", send=False)
    first.die()
    second = schedulers()
    assert second.adopt() == 0
    assert second.executor.running == {rows()["t"].key}
    assert not second.executor.event_buffer
    assert not messages(broker, "batch")


def test_after_a_flush_of_the_broker_tasks_are_adopted_and_none_fails(
    schedulers: Any, broker: redis.Redis, writer: psycopg.Connection
) -> None:
    first = schedulers()
    for name in ("queued", "running", "ended"):
        first.queue(name)
    writer.execute("UPDATE task_instance SET state = 'running' WHERE task_id != 'queued'")
    first.die()
    broker.flushall()
    second = schedulers()
    assert second.adopt() == 0
    second.executor.heartbeat()
    assert not second.executor.event_buffer, "what is not known is no failure"
    assert second.executor.running == {ti.key for ti in rows().values()}
    # A running task ends in the database; the executor finds out by nothing else.
    writer.execute("UPDATE task_instance SET state = 'success' WHERE task_id = 'ended'")
    second.told()
    assert rows()["queued"].state == QUEUED
    assert rows()["ended"].state == SUCCESS


def test_a_task_without_a_message_id_is_scheduled_anew(
    schedulers: Any, writer: psycopg.Connection
) -> None:
    first = schedulers()
    first.queue("t", send=False)
    writer.execute("UPDATE task_instance SET external_executor_id = NULL")
    first.die()
    second = schedulers()
    assert second.adopt() == 1
    found = rows()["t"]
    assert (found.state, found.queued_by_job_id) == (None, None)
    assert not second.executor.running


def test_the_tasks_of_a_scheduler_that_lives_are_left_alone(schedulers: Any) -> None:
    first = schedulers()
    first.queue("t")
    second = schedulers()
    assert second.adopt() == 0
    assert not second.executor.running
    assert rows()["t"].queued_by_job_id == first.job_id


# ---- a message is lost, or nobody takes it


def test_a_task_that_is_stuck_in_queued_is_revoked_and_sent_anew(
    schedulers: Any, broker: redis.Redis, writer: psycopg.Connection
) -> None:
    scheduler = schedulers()
    scheduler.queue("stuck")
    scheduler.queue("fresh")
    writer.execute(
        "UPDATE task_instance SET queued_dttm = now() - interval '1 day' WHERE task_id = 'stuck'"
    )
    scheduler.runner._handle_tasks_stuck_in_queued()
    found = rows()
    assert (found["stuck"].state, found["stuck"].queued_dttm) == ("scheduled", None)
    assert found["fresh"].state == QUEUED
    executor = scheduler.executor
    assert executor.running == set(executor.workloads) == {found["fresh"].key}
    assert not executor.event_buffer
    # the next try is another message
    again = str(uuid4())
    give(executor, task_workload("stuck", celery_id=again))
    executor.heartbeat()
    assert messages(broker, "batch")[-1]["headers"]["id"] == again


def test_a_task_that_is_stuck_too_often_fails(schedulers: Any, writer: psycopg.Connection) -> None:
    scheduler = schedulers()
    scheduler.queue("t")
    scheduler.runner._num_stuck_queued_retries = 0
    writer.execute("UPDATE task_instance SET queued_dttm = now() - interval '1 day'")
    scheduler.runner._handle_tasks_stuck_in_queued()
    key = rows()["t"].key
    assert rows()["t"].state == FAILED
    assert scheduler.executor.event_buffer[key][0] == FAILED
    assert not scheduler.executor.running


def test_a_task_that_waits_to_be_sent_can_be_revoked(
    schedulers: Any, broker: redis.Redis, writer: psycopg.Connection
) -> None:
    executor = schedulers().executor
    insert_task(writer, "t", "r", "queued")
    give(executor, task_workload("t"))
    executor.revoke_task(ti=rows()["t"])
    executor.heartbeat()
    assert not messages(broker, "batch")
    assert not executor.event_buffer
    assert not executor.has_task(rows()["t"])


# ---- what the executor says, and what the database knows


def test_a_worker_that_failed_before_the_task_began_fails_it(schedulers: Any) -> None:
    scheduler = schedulers()
    celery_id = scheduler.queue("t")
    end_in_celery(scheduler.executor, celery_id, "FAILURE")
    scheduler.executor.heartbeat()
    scheduler.told()
    assert rows()["t"].state == FAILED


@pytest.mark.parametrize("state", ["deferred", "up_for_reschedule", "up_for_retry", "success"])
def test_a_task_that_ended_its_process_in_order_stays_as_it_is(
    schedulers: Any, writer: psycopg.Connection, state: str
) -> None:
    scheduler = schedulers()
    celery_id = scheduler.queue("t")
    writer.execute("UPDATE task_instance SET state = %s", [state])
    end_in_celery(scheduler.executor, celery_id, "SUCCESS")
    scheduler.executor.heartbeat()
    scheduler.told()
    assert rows()["t"].state == state
    assert not scheduler.executor.running


def test_a_deferred_task_that_was_sent_again_is_not_failed_by_its_first_half(
    schedulers: Any, writer: psycopg.Connection
) -> None:
    scheduler = schedulers()
    celery_id = scheduler.queue("t")
    # the trigger fired and the scheduler queued it again, before the first end was seen
    give(scheduler.executor, task_workload("t"))
    end_in_celery(scheduler.executor, celery_id, "SUCCESS")
    scheduler.executor.sync()
    scheduler.told()
    assert rows()["t"].state == QUEUED


def test_the_end_of_a_callback_is_written_down(schedulers: Any, writer: psycopg.Connection) -> None:
    scheduler = schedulers()
    ids = {"SUCCESS": str(uuid4()), "FAILURE": str(uuid4())}
    for number in ids.values():
        writer.execute(
            "INSERT INTO callback (id, type, fetch_method, data, state, priority_weight, "
            "created_at) VALUES (%s, 'executor', 'import_path', %s, 'queued', 1, now())",
            [number, '{"__type": "dict", "__var": {}}'],
        )
    give(scheduler.executor, *(callback_workload(number) for number in ids.values()))
    scheduler.executor.heartbeat()
    for key, (_, celery_id) in scheduler.executor.get_event_buffer().items():
        state = next(state for state, number in ids.items() if number == str(key))
        end_in_celery(scheduler.executor, celery_id, state)
    scheduler.executor.heartbeat()
    scheduler.told()
    with create_session() as session:
        found = {str(row.id): row.state for row in session.scalars(select(Callback))}
    assert found == {ids["SUCCESS"]: "success", ids["FAILURE"]: "failed"}
