"""The listener as Airflow sees it: operator, trigger, DAG file."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from airflow.serialization.decoders import smart_decode_trigger_kwargs
from airflow.serialization.serialized_objects import DagSerialization
from airflow.triggers.base import TaskSuccessEvent

import intake.trigger
from intake import keys
from intake.producer import signup
from intake.trigger import SignupListenerOperator, SignupTrigger
from tests.airflow_double import USER, AirflowDouble
from tests.integration.intake_lives import set_trigger
from tests.servers import eventually


@pytest.fixture
def settings(redis_url: str, airflow: AirflowDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    set_trigger(monkeypatch, redis_url, airflow)
    monkeypatch.setenv("AIRLANE_INTAKE_PAUSE_CHECK", "0.1")


async def run() -> list[Any]:
    return [event async for event in SignupTrigger().run()]


def test_the_trigger_waits_out_a_pause_and_ends_with_its_lifetime(
    settings: None, redis_url: str, airflow: AirflowDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(run())
        with redis.Redis.from_url(redis_url) as events:
            first = signup(events, 7)
            await eventually(lambda: airflow.events() == [first], "the first run")
            airflow.paused.add("signup_listener")
            await eventually(
                lambda: not events.xinfo_consumers(keys.SIGNUPS, keys.GROUP), "the pause"
            )
            second = signup(events, 8)
            asked = airflow.calls["dag"]
            await eventually(lambda: airflow.calls["dag"] > asked + 3, "looks for the end of it")
            assert airflow.events() == [first]
            assert not task.done()
            # the next life is a short one
            monkeypatch.setattr(intake.trigger, "LIFETIME", 3)
            airflow.paused.clear()
            await eventually(lambda: airflow.events() == sorted([first, second]), "the second run")
        events_fired = await asyncio.wait_for(task, 60)
        # Ends the task without a worker.
        assert [type(event) for event in events_fired] == [TaskSuccessEvent]

    asyncio.run(scenario())


def test_a_missing_setting_is_waited_for_and_fails_no_run(
    settings: None,
    airflow: AirflowDouble,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(intake.trigger, "_RESTART", 0.05)
    monkeypatch.delenv("AIRLANE_API_USER")
    monkeypatch.delenv("AIRLANE_SECRETS", raising=False)
    monkeypatch.setattr(intake.trigger, "LIFETIME", 0.2)

    async def scenario() -> None:
        task = asyncio.create_task(run())
        await eventually(lambda: caplog.text.count("the listener starts anew") > 1, "two tries")
        assert not task.done()
        monkeypatch.setenv("AIRLANE_API_USER", USER)
        assert len(await asyncio.wait_for(task, 60)) == 1

    asyncio.run(scenario())


def test_the_triggerers_end_frees_what_is_in_flight(
    settings: None, redis_url: str, airflow: AirflowDouble
) -> None:
    airflow.import_errors = True

    async def scenario() -> None:
        task = asyncio.create_task(run())
        with redis.Redis.from_url(redis_url) as events:
            signup(events, 7)
            posts = "POST /api/v2/dags/onboarding/dagRuns"
            await eventually(lambda: bool(airflow.calls[posts]), "a try")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            (entry,) = events.xpending_range(keys.SIGNUPS, keys.GROUP, "-", "+", 10)
            assert entry["time_since_delivered"] > 3600 * 1000

    asyncio.run(scenario())


def test_the_dag_starts_the_trigger_without_a_worker() -> None:
    import dags.listener

    dag = dags.listener.dag
    assert dag.max_active_runs == 1
    assert type(dag.timetable).__name__ == "ContinuousTimetable"
    # As scheduler and triggerer see it.
    task = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("listen")
    assert task.start_from_trigger is True
    assert task.queue == "control"
    assert task.execution_timeout is None
    arguments = task.start_trigger_args
    assert arguments.trigger_cls == "intake.trigger.SignupTrigger"
    assert arguments.timeout is None
    kwargs = smart_decode_trigger_kwargs(arguments.trigger_kwargs)
    assert SignupTrigger(**kwargs).serialize() == (arguments.trigger_cls, {})


def test_the_operator_refuses_a_worker() -> None:
    with pytest.raises(RuntimeError, match="expected listen to run in the triggerer"):
        SignupListenerOperator(task_id="listen").execute({})
