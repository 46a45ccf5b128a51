"""Failed runs that left no answer, with a real PostgreSQL and a double of Airflow's API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from intake import answers, database, dead_letters, keys, ledger, outbox, trigger
from intake.airflow_api import AirflowApi, RetryLaterError
from intake.events import parse
from intake.listener import PAUSED
from intake.outbox import Publisher
from intake.settings import IntakeSettings
from tests.airflow_double import PASSWORD, USER, AirflowDouble
from tests.app_database import AppDatabase
from tests.servers import eventually

AT = "2026-03-01T12:00:00Z"


def conf(event_id: str, **changes: Any) -> dict[str, Any]:
    fields = {b"event_id": event_id.encode(), b"entity_id": b"7", b"at": AT.encode()}
    event = parse({**fields, b"payload": b'{"a": 1}'}, "2026-03-01T12:00:01+00:00").conf()["event"]
    return {"event": {**event, **changes}}


def fail(airflow: AirflowDouble, *event_ids: str, ended: datetime | None = None) -> None:
    for event_id in event_ids:
        airflow.add_run(f"signup-{event_id}", conf(event_id), "failed", ended)


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def answered(engine: Engine) -> dict[str, str]:
    return {found.event_id: found.decision for found in ledger.decisions(engine)}


def outbox_ids(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT event_id FROM outbox ORDER BY event_id")))


def sweep(airflow: AirflowDouble, engine: Engine, since: datetime | None = None) -> int:
    async def once() -> int:
        api = AirflowApi(airflow.url, USER, PASSWORD, "onboarding")
        try:
            return await answers.sweep(api, engine, since or days_ago(7))
        finally:
            await api.close()

    return asyncio.run(once())


@pytest.fixture
def settings(app_db: AppDatabase, airflow: AirflowDouble, redis_url: str) -> IntakeSettings:
    return IntakeSettings(
        app_db_url=app_db.intake,
        events_url=redis_url,
        api_url=airflow.url,
        api_user=USER,
        api_password=PASSWORD,
        intake_sweep=0.05,
        intake_pause_check=0.05,
    )


@asynccontextmanager
async def listening(settings: IntakeSettings) -> AsyncIterator[asyncio.Task[str]]:
    task = asyncio.create_task(trigger.listen(settings, 3600))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=60)
    assert task.done()


async def until(engine: Engine, expected: dict[str, str]) -> None:
    await eventually(lambda: answered(engine) == expected, f"{expected} to be answered")


def test_a_failed_run_without_an_answer_gets_one_that_can_be_replayed(
    airflow: AirflowDouble,
    intake_engine: Engine,
    relay_engine: Engine,
    redis_url: str,
) -> None:
    fail(airflow, "a")
    assert sweep(airflow, intake_engine) == 1
    assert sweep(airflow, intake_engine) == 0
    found = ledger.find(intake_engine, "a")
    assert found is not None
    assert (found.decision, found.score, found.reasons) == ("error", None, [answers.REASON])
    assert (found.run_id, found.entity_id, found.event) == ("signup-a", "7", conf("a")["event"])
    assert found.signed_up_at == datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC)
    assert outbox_ids(intake_engine) == ["a"]
    with closing(outbox.connect(redis_url)) as client:
        Publisher(relay_engine, client).publish()
        (letter,) = dead_letters.letters(client)
        assert letter.reason == f"error: {answers.REASON}"
        assert dead_letters.replay(client, letter.id) == "a.r2"
        ((_, fields),) = client.xrange(keys.SIGNUPS)
        assert parse(fields, AT).payload == {"a": 1}


def test_an_answer_that_is_there_stands(
    airflow: AirflowDouble, intake_engine: Engine, worker_engine: Engine
) -> None:
    fail(airflow, "a")
    found = answers._error(airflow.runs["signup-a"])
    assert found is not None
    ours = ledger.Decision(**{**found.__dict__, "decision": "approve", "score": 0.1})
    assert ledger.record(worker_engine, ours)
    assert sweep(airflow, intake_engine) == 0
    assert answered(intake_engine) == {"a": "approve"}
    assert outbox_ids(intake_engine) == ["a"]


def test_many_sweeps_and_a_late_step_at_once_leave_one_answer(
    airflow: AirflowDouble, app_db: AppDatabase, worker_engine: Engine
) -> None:
    ids = [f"e{number}" for number in range(20)]
    fail(airflow, *ids)
    runs = list(airflow.runs.values())
    engines = [database.engine(app_db.intake) for _ in range(3)]
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda engine=engine: counts.append(answers._answer(engine, runs)))
        for engine in engines
    ]
    for thread in threads:
        thread.start()
    late = 0
    for run in reversed(runs):
        error = answers._error(run)
        assert error is not None
        late += ledger.record(
            worker_engine, ledger.Decision(**{**error.__dict__, "decision": "review"})
        )
    for thread in threads:
        thread.join(60)
    assert sum(counts) + late == len(ids)
    assert outbox_ids(worker_engine) == sorted(ids)
    for engine in engines:
        engine.dispose()


@pytest.mark.parametrize(
    ("run_id", "given", "state"),
    [
        ("signup-a", None, "failed"),
        ("signup-a", {}, "failed"),
        ("signup-a", {"event": "a"}, "failed"),
        ("signup-a", {"event": {"event_id": "a"}}, "failed"),
        ("signup-a", conf("a", at="yesterday", received_at=None), "failed"),
        ("signup-a", conf("a", at=7, received_at=7), "failed"),
        ("manual__2026-03-01", conf("a"), "failed"),
        ("signup-b", conf("a"), "failed"),
        ("signup-a", conf("a"), "success"),
        ("signup-a", conf("a"), "running"),
    ],
)
def test_what_is_no_failed_run_of_the_listener_is_left_alone(
    airflow: AirflowDouble, intake_engine: Engine, run_id: str, given: Any, state: str
) -> None:
    airflow.add_run(run_id, given, state)
    assert sweep(airflow, intake_engine) == 0
    assert answered(intake_engine) == {}


def test_all_pages_are_read_and_nothing_older_than_asked_for(
    airflow: AirflowDouble, intake_engine: Engine
) -> None:
    fail(airflow, "old", ended=days_ago(8))
    same = days_ago(1)
    ids = [f"e{number}" for number in range(120)]
    for number, event_id in enumerate(ids):
        fail(airflow, event_id, ended=same if number % 3 else days_ago(6 - number / 100))
    assert sweep(airflow, intake_engine) == len(ids)
    assert answered(intake_engine) == dict.fromkeys(ids, "error")
    assert airflow.calls["GET /api/v2/dags/onboarding/dagRuns"] == 3
    assert sweep(airflow, intake_engine, days_ago(9)) == 1


def test_one_that_cannot_be_written_holds_up_no_other(
    airflow: AirflowDouble, intake_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    airflow.add_run("signup-bad", conf("bad", entity_id="\0"), "failed", days_ago(2))
    fail(airflow, "good")
    assert sweep(airflow, intake_engine) == 1
    assert answered(intake_engine) == {"good": "error"}
    assert "run signup-bad failed and its event cannot be answered: (psycopg." in caplog.text
    assert AT not in caplog.text, "what applicants sent is nothing for the log"


def test_an_api_that_cannot_say_it_now_is_told_apart(
    airflow: AirflowDouble, intake_engine: Engine
) -> None:
    airflow.faults.append(("GET", 503, "busy"))
    with pytest.raises(RetryLaterError, match="listing failed runs: HTTP 503: busy"):
        sweep(airflow, intake_engine)


def test_the_listener_answers_as_runs_fail_also_after_an_outage(
    airflow: AirflowDouble,
    settings: IntakeSettings,
    worker_engine: Engine,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail(airflow, "before", ended=days_ago(20))

    async def scenario() -> None:
        async with listening(settings):
            await until(worker_engine, {"before": "error"})
            await asyncio.to_thread(airflow.stop)
            fail(airflow, "meanwhile")
            await eventually(lambda: "without an answer, failure 2" in caplog.text, "two looks")
            await asyncio.to_thread(airflow.start)
            await until(worker_engine, {"before": "error", "meanwhile": "error"})

    asyncio.run(scenario())


@pytest.fixture
def locked_out(owner_engine: Engine) -> Iterator[Any]:
    """Take from the listener's login what it may do, until the function is called."""

    def let_in() -> None:
        with owner_engine.begin() as connection:
            connection.execute(text("GRANT SELECT, INSERT ON ledger, outbox TO airlane_intake"))

    with owner_engine.begin() as connection:
        connection.execute(text("REVOKE ALL ON ledger FROM airlane_intake"))
    yield let_in
    let_in()


def test_a_database_that_refuses_stops_no_sign_up_and_is_asked_again(
    airflow: AirflowDouble,
    settings: IntakeSettings,
    worker_engine: Engine,
    locked_out: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail(airflow, "a")

    async def scenario() -> None:
        async with listening(settings):
            await eventually(lambda: "permission denied" in caplog.text, "a refused look")
            with redis.Redis.from_url(settings.need("events_url")) as events:
                events.xadd(keys.SIGNUPS, {"event_id": "b", "entity_id": "1", "at": AT})
                await eventually(lambda: "signup-b" in airflow.runs, "the run of b")
            assert answered(worker_engine) == {}
            locked_out()
            await until(worker_engine, {"a": "error"})

    asyncio.run(scenario())
    assert "[SQL" not in caplog.text


@pytest.mark.parametrize("url", [None, "", "nonsense://", "postgresql+psycopg://x:x@127.0.0.1:1/x"])
def test_without_a_database_the_listener_goes_on_and_ends_when_paused(
    airflow: AirflowDouble,
    settings: IntakeSettings,
    url: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail(airflow, "a")

    async def scenario() -> None:
        broken = settings.model_copy(update={"app_db_url": url})
        async with listening(broken) as task:
            await eventually(lambda: "without an answer, failure 2" in caplog.text, "two looks")
            assert not task.done()
            airflow.paused.add("signup_listener")
            assert await asyncio.wait_for(task, 60) == PAUSED
        assert _others() == []

    asyncio.run(scenario())


def test_the_end_of_the_listener_waits_for_no_database(
    airflow: AirflowDouble, settings: IntakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(airflow, "a")
    asked, go_on, went_on = threading.Event(), threading.Event(), threading.Event()

    def hang(*_: object) -> int:
        asked.set()
        go_on.wait(120)
        went_on.set()
        return 0

    monkeypatch.setattr(answers, "_answer", hang)

    async def scenario() -> None:
        try:
            async with listening(settings) as task:
                assert await asyncio.to_thread(asked.wait, 60)
                task.cancel()
                await asyncio.wait([task], timeout=60)
                assert task.cancelled()
                assert not went_on.is_set()
            assert _others() == []
        finally:
            # else its thread holds up the end of the loop
            go_on.set()

    asyncio.run(scenario())


def _others() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
