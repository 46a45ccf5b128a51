"""How airlane's executor sends messages to the broker, and what it does when that fails."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from airflow.providers.celery.executors import celery_executor_utils
from airflow.utils.state import TaskInstanceState

from airflow_config.executor import AirlaneExecutor
from tests.executors import celery_on, end_in_celery, give, messages, task_workload

QUEUED, FAILED = TaskInstanceState.QUEUED, TaskInstanceState.FAILED


def test_a_message_lies_in_its_tasks_queue_with_the_id_given_before(
    executor: AirlaneExecutor, broker: redis.Redis
) -> None:
    urgent = task_workload("u", queue="onboarding", celery_id=str(uuid4()))
    batch = task_workload("b", queue="batch", celery_id=str(uuid4()))
    give(executor, batch, urgent)
    executor.heartbeat()
    for workload in (urgent, batch):
        (message,) = messages(broker, workload.ti.queue)
        assert message["headers"]["id"] == workload.ti.external_executor_id
        assert message["headers"]["task"] == "execute_workload"
    assert executor.running == {urgent.key, batch.key}
    assert not executor.queued_tasks
    # what the scheduler writes into the task's row
    assert executor.get_event_buffer() == {
        workload.key: (QUEUED, workload.ti.external_executor_id) for workload in (batch, urgent)
    }


def test_messages_go_out_in_order_of_weight(executor: AirlaneExecutor, broker: redis.Redis) -> None:
    workloads = [task_workload(f"t{weight}", weight=weight) for weight in (3, 100_000, 1, 50)]
    give(executor, *workloads)
    executor.heartbeat()
    sent = [message["headers"]["id"] for message in messages(broker, "batch")]
    wanted = sorted(workloads, key=lambda workload: -workload.ti.priority_weight)
    assert sent == [workload.ti.external_executor_id for workload in wanted]


def test_what_exceeds_the_parallelism_waits_here_the_lightest(
    redis_url: str, broker: redis.Redis
) -> None:
    with celery_on(redis_url):
        executor = AirlaneExecutor(parallelism=2)
        light, *heavy = (task_workload(f"t{weight}", weight=weight) for weight in (1, 2, 3))
        give(executor, light, *heavy)
        executor.heartbeat()
        assert len(messages(broker, "batch")) == 2
        assert set(executor.queued_tasks) == {light.key}
        assert executor.slots_available < 0
        end_in_celery(executor, heavy[0].ti.external_executor_id, "SUCCESS")
        executor.heartbeat()
        executor.heartbeat()
        assert len(messages(broker, "batch")) == 3


@pytest.mark.parametrize("processes", ["0", "4"])
def test_the_scheduler_starts_no_processes_to_send(
    redis_url: str, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    with celery_on(redis_url):
        monkeypatch.setenv("AIRFLOW__CELERY__SYNC_PARALLELISM", processes)
        pool = "airflow.providers.celery.executors.celery_executor.ProcessPoolExecutor"
        monkeypatch.setattr(pool, lambda *_, **__: pytest.fail("a pool of processes"))
        executor = AirlaneExecutor(parallelism=64)
        give(executor, *(task_workload(f"t{number}") for number in range(40)))
        executor.heartbeat()
    assert len(messages(broker, "batch")) == 40
    assert len(executor.get_event_buffer()) == 40


def test_the_messages_of_one_loop_go_out_in_one_pipeline(
    executor: AirlaneExecutor, broker: redis.Redis
) -> None:
    # the first that go to a queue also tell the broker of it
    give(executor, task_workload("first"))
    executor.heartbeat()
    before = broker.info("stats")["total_reads_processed"]
    wanted = [task_workload(f"t{number}", celery_id=str(uuid4())) for number in range(40)]
    give(executor, *wanted)
    executor.trigger_tasks(40)
    reads = broker.info("stats")["total_reads_processed"] - before
    assert reads < len(wanted)
    sent = [message["headers"]["id"] for message in messages(broker, "batch")][1:]
    assert sent == [workload.ti.external_executor_id for workload in wanted]


def test_the_broker_keeps_no_subscription_to_what_was_sent(
    executor: AirlaneExecutor, broker: redis.Redis
) -> None:
    for count in (1, 5):
        give(executor, *(task_workload(f"t{number}of{count}") for number in range(count)))
        executor.heartbeat()
        assert broker.pubsub_channels("celery-task-meta-*") == []
    assert len(messages(broker, "batch")) == 6


def test_messages_are_sent_once_after_the_broker_cut_the_connections(
    executor: AirlaneExecutor, broker: redis.Redis
) -> None:
    workloads = [task_workload(f"t{number}", celery_id=str(uuid4())) for number in range(6)]
    give(executor, *workloads[:3])
    executor.heartbeat()
    broker.client_kill_filter(_type="normal", skipme=True)
    give(executor, *workloads[3:])
    executor.heartbeat()
    assert [message["headers"]["id"] for message in messages(broker, "batch")] == [
        workload.ti.external_executor_id for workload in workloads
    ]
    assert executor.running == {workload.key for workload in workloads}


@pytest.fixture
def full(broker: redis.Redis) -> Iterator[redis.Redis]:
    """The broker, out of memory: it refuses every message."""
    kept: Any = broker.config_get("maxmemory*")
    broker.config_set("maxmemory-policy", "noeviction")
    broker.config_set("maxmemory", 1)
    yield broker
    for name in ("maxmemory", "maxmemory-policy"):
        broker.config_set(name, kept[name])


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("count", [1, 3])
def test_a_message_that_is_refused_fails_its_task(
    executor: AirlaneExecutor, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    workloads = [task_workload(f"t{number}") for number in range(count)]
    give(executor, *workloads)
    executor.heartbeat()
    said = capsys.readouterr().out
    assert said.count("Error sending Celery workload: ") == count
    assert "maxmemory" in said
    assert executor.get_event_buffer() == {workload.key: (FAILED, None) for workload in workloads}
    assert not executor.running
    assert not executor.queued_tasks


@pytest.fixture
def deaf_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that takes connections and never answers."""
    monkeypatch.setattr(celery_executor_utils, "OPERATION_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.mark.parametrize("count", [1, 3])
def test_a_broker_that_does_not_answer_is_tried_again_before_the_task_fails(
    deaf_broker: str, count: int
) -> None:
    with celery_on(deaf_broker):
        executor = AirlaneExecutor(parallelism=8)
        workloads = [task_workload(f"t{number}") for number in range(count)]
        keys = {workload.key for workload in workloads}
        give(executor, *workloads)
        for tries in range(1, executor.workload_publish_max_retries + 1):
            executor.trigger_tasks(8)
            assert set(executor.queued_tasks) == keys
            assert dict(executor.workload_publish_retries) == dict.fromkeys(keys, tries)
            assert not executor.get_event_buffer()
        executor.trigger_tasks(8)
    assert executor.get_event_buffer() == dict.fromkeys(keys, (FAILED, None))
    assert not executor.queued_tasks
    assert not executor.workload_publish_retries


def test_a_message_that_was_held_up_is_sent_under_the_same_id(
    executor: AirlaneExecutor, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery_executor_utils, "OPERATION_TIMEOUT", 30.0)
    workload = task_workload(celery_id=str(uuid4()))
    give(executor, workload)
    # reads are answered, writes wait
    broker.client_pause(60_000, all=False)
    try:
        with monkeypatch.context() as impatient:
            impatient.setattr(celery_executor_utils, "OPERATION_TIMEOUT", 0.5)
            executor.trigger_tasks(8)
    finally:
        broker.client_unpause()
    assert set(executor.queued_tasks) == {workload.key}
    executor.trigger_tasks(8)
    assert executor.get_event_buffer() == {workload.key: (QUEUED, workload.ti.external_executor_id)}
    # A worker ignores the second of two messages with the id of a task that it runs.
    found = {message["headers"]["id"] for message in messages(broker, "batch")}
    assert found == {workload.ti.external_executor_id}
