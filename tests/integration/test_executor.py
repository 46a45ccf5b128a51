"""What users rely on in CeleryExecutor, of airlane's: sending, results, revocation, callbacks."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from airflow.models.callback import CallbackKey
from airflow.providers.celery.executors import celery_executor_utils
from airflow.utils.state import CallbackState, TaskInstanceState

from airflow_config.executor import AirlaneExecutor
from airflow_config.place import ROOT
from tests.executors import (
    callback_workload,
    celery_on,
    end_in_celery,
    give,
    messages,
    task_workload,
)

QUEUED, SUCCESS, FAILED = (
    TaskInstanceState.QUEUED,
    TaskInstanceState.SUCCESS,
    TaskInstanceState.FAILED,
)


@pytest.fixture
def executor(redis_url: str) -> Iterator[AirlaneExecutor]:
    """An executor that was not started: it sends and looks, and nothing wakes it."""
    with celery_on(redis_url):
        yield AirlaneExecutor(parallelism=8)


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def events(executor: AirlaneExecutor) -> dict[Any, Any]:
    """Return what the scheduler would be told, as it takes it."""
    return executor.get_event_buffer()


# ---- sending


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
    assert events(executor) == {
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
    assert len(events(executor)) == 40


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


# ---- sending fails


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
    assert events(executor) == {workload.key: (FAILED, None) for workload in workloads}
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
            assert not events(executor)
        executor.trigger_tasks(8)
    assert events(executor) == dict.fromkeys(keys, (FAILED, None))
    assert not executor.queued_tasks
    assert not executor.workload_publish_retries


def test_a_message_that_was_held_up_is_sent_under_the_same_id(
    executor: AirlaneExecutor, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery_executor_utils, "OPERATION_TIMEOUT", 0.5)
    workload = task_workload(celery_id=str(uuid4()))
    give(executor, workload)
    # reads are answered, writes wait
    broker.client_pause(60_000, all=False)
    executor.trigger_tasks(8)
    assert set(executor.queued_tasks) == {workload.key}
    broker.client_unpause()
    executor.trigger_tasks(8)
    assert events(executor) == {workload.key: (QUEUED, workload.ti.external_executor_id)}
    # A worker ignores the second of two messages with the id of a task that it runs.
    found = {message["headers"]["id"] for message in messages(broker, "batch")}
    assert found == {workload.ti.external_executor_id}


# ---- results


@pytest.mark.parametrize(
    ("state", "event"), [("SUCCESS", SUCCESS), ("FAILURE", FAILED), ("REVOKED", FAILED)]
)
def test_what_ended_comes_back_as_an_event(
    executor: AirlaneExecutor, state: str, event: TaskInstanceState
) -> None:
    ended, waiting = task_workload("ended"), task_workload("waiting")
    give(executor, ended, waiting)
    executor.heartbeat()
    events(executor)
    end_in_celery(executor, ended.ti.external_executor_id, state)
    executor.heartbeat()
    ((key, (told, _)),) = events(executor).items()
    assert (key, told) == (ended.key, event)
    assert executor.running == {waiting.key}
    executor.heartbeat()
    assert not events(executor), "told twice"


@pytest.mark.parametrize("state", ["STARTED", "RETRY", "PENDING"])
def test_what_goes_on_is_no_event(executor: AirlaneExecutor, state: str) -> None:
    workload = task_workload()
    give(executor, workload)
    executor.heartbeat()
    events(executor)
    if state != "PENDING":
        end_in_celery(executor, workload.ti.external_executor_id, state)
    executor.heartbeat()
    assert not events(executor)
    assert executor.running == {workload.key}


def test_a_task_that_was_deferred_is_sent_anew_under_a_new_id(
    executor: AirlaneExecutor, broker: redis.Redis
) -> None:
    first = task_workload(celery_id=str(uuid4()))
    give(executor, first)
    executor.heartbeat()
    end_in_celery(executor, first.ti.external_executor_id, "SUCCESS")
    executor.heartbeat()
    # the same task, run and try: it is the same key
    again = task_workload(celery_id=str(uuid4()), ti_id=str(first.ti.id))
    assert again.key == first.key
    give(executor, again)
    executor.heartbeat()
    assert [message["headers"]["id"] for message in messages(broker, "batch")] == [
        workload.ti.external_executor_id for workload in (first, again)
    ]
    assert executor.running == {again.key}
    assert executor.workloads[again.key].task_id == again.ti.external_executor_id


# ---- callbacks


def test_a_callback_goes_before_tasks_to_its_queue_and_its_end_is_told(
    executor: AirlaneExecutor, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_QUEUE", "batch")
    assert executor.supports_callbacks
    plain, named = str(uuid4()), str(uuid4())
    give(executor, task_workload(weight=100_000))
    give(executor, callback_workload(plain), callback_workload(named, queue="control"))
    executor.heartbeat()
    assert len(messages(broker, "control")) == 1
    first, second = messages(broker, "batch")
    assert plain in json.loads(_body(first))[0][0]
    assert '"ExecuteTask"' in json.loads(_body(second))[0][0]
    told = events(executor)
    key = CallbackKey(id=plain)
    end_in_celery(executor, told[key][1], "SUCCESS")
    end_in_celery(executor, told[CallbackKey(id=named)][1], "FAILURE")
    executor.heartbeat()
    found = {key: state for key, (state, _) in events(executor).items()}
    assert found == {
        key: CallbackState.SUCCESS,
        CallbackKey(id=named): CallbackState.FAILED,
    }
    assert len(executor.running) == 1


def _body(message: dict[str, Any]) -> str:
    return b64decode(message["body"]).decode()


# ---- where it is only loaded

LOADED = """
import sys
from airflow.executors.executor_loader import ExecutorLoader
{code}
found = [name for name in ("airflow_config.scheduler_loop", "airflow.jobs.scheduler_job_runner")
         if name in sys.modules]
assert not found, found
"""


@pytest.mark.parametrize(
    "code",
    [
        "ExecutorLoader.import_default_executor_cls()",
        "ExecutorLoader.get_default_executor().heartbeat()",
    ],
    ids=["class", "instance"],
)
def test_loading_it_touches_no_scheduler(redis_url: str, code: str, tmp_path: Any) -> None:
    """The API server, the DAG processor and the workers load it and never start it."""
    environment = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__EXECUTOR": "airflow_config.executor.AirlaneExecutor",
        "AIRFLOW__CELERY__BROKER_URL": redis_url,
        "AIRFLOW__CELERY__RESULT_BACKEND": redis_url,
    }
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(code=code)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr[-3000:]


def test_a_bounded_scheduler_is_not_told_again_what_it_wrote_itself(
    executor: AirlaneExecutor,
) -> None:
    executor._bounded = True
    known, unknown = task_workload("a"), task_workload("b")
    unknown.ti.external_executor_id = None
    give(executor, known, unknown)
    executor.heartbeat()
    assert executor.running == {known.key, unknown.key}
    told = events(executor)
    assert list(told) == [unknown.key]
