"""What airlane's executor tells the scheduler of tasks and of callbacks."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any
from uuid import uuid4

import pytest
import redis
from airflow.models.callback import CallbackKey
from airflow.utils.state import CallbackState, TaskInstanceState

from airflow_config.executor import AirlaneExecutor
from tests.executors import callback_workload, end_in_celery, give, messages, task_workload

SUCCESS, FAILED = TaskInstanceState.SUCCESS, TaskInstanceState.FAILED


@pytest.mark.parametrize(
    ("state", "event"), [("SUCCESS", SUCCESS), ("FAILURE", FAILED), ("REVOKED", FAILED)]
)
def test_what_ended_comes_back_as_an_event(
    executor: AirlaneExecutor, state: str, event: TaskInstanceState
) -> None:
    ended, waiting = task_workload("ended"), task_workload("waiting")
    give(executor, ended, waiting)
    executor.heartbeat()
    executor.get_event_buffer()
    end_in_celery(executor, ended.ti.external_executor_id, state)
    executor.heartbeat()
    ((key, (told, _)),) = executor.get_event_buffer().items()
    assert (key, told) == (ended.key, event)
    assert executor.running == {waiting.key}
    executor.heartbeat()
    assert not executor.get_event_buffer(), "told twice"


@pytest.mark.parametrize("state", ["STARTED", "RETRY", "PENDING"])
def test_what_goes_on_is_no_event(executor: AirlaneExecutor, state: str) -> None:
    workload = task_workload()
    give(executor, workload)
    executor.heartbeat()
    executor.get_event_buffer()
    if state != "PENDING":
        end_in_celery(executor, workload.ti.external_executor_id, state)
    executor.heartbeat()
    assert not executor.get_event_buffer()
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
    told = executor.get_event_buffer()
    key = CallbackKey(id=plain)
    end_in_celery(executor, told[key][1], "SUCCESS")
    end_in_celery(executor, told[CallbackKey(id=named)][1], "FAILURE")
    executor.heartbeat()
    found = {key: state for key, (state, _) in executor.get_event_buffer().items()}
    assert found == {
        key: CallbackState.SUCCESS,
        CallbackKey(id=named): CallbackState.FAILED,
    }
    assert len(executor.running) == 1


def _body(message: dict[str, Any]) -> str:
    return b64decode(message["body"]).decode()


def test_a_bounded_scheduler_is_not_told_again_what_it_wrote_itself(
    executor: AirlaneExecutor,
) -> None:
    executor._bounded = True
    known, unknown = task_workload("a"), task_workload("b")
    unknown.ti.external_executor_id = None
    give(executor, known, unknown)
    executor.heartbeat()
    assert executor.running == {known.key, unknown.key}
    told = executor.get_event_buffer()
    assert list(told) == [unknown.key]
