"""No token in what Celery shows of a message: headers, events, inspect, the worker's log."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from airflow_config import queues
from airflow_config.place import queues_file
from tests.celery_workers import worker_environment
from tests.servers import serving, wait_until
from tests.workloads import DESCRIPTION, TOKEN, send
from workers.command import worker_command

#: As it stands, and in the three ways in which base64 may cut it: a message's body is so encoded.
SHAPES = [TOKEN] + [
    base64.b64encode(b" " * shift + TOKEN.encode()).decode()[4:-4] for shift in range(3)
]


@pytest.fixture(params=["INFO", "DEBUG"])
def environment(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> dict[str, str]:
    """What a worker of the class `onboarding` has in its environment; no API server answers."""
    levels = {"logging_level": request.param, "celery_logging_level": request.param}
    # the task looks for the API server for some 10 s, then it ends
    extra = {"workers": {"execution_api_retries": "7"}, "logging": levels}
    return worker_environment(tmp_path, redis_url, queues_file(), extra=extra)


def shows_token(text: str) -> bool:
    return any(shape in text for shape in SHAPES)


def test_a_message_carries_a_description_and_no_token(
    environment: dict[str, str], redis_url: str
) -> None:
    send(environment)
    with redis.Redis.from_url(redis_url) as broker:
        (raw,) = broker.lrange("onboarding", 0, -1)  # type: ignore[misc]
    message = json.loads(raw)
    assert message["headers"]["argsrepr"] == DESCRIPTION
    assert shows_token(raw.decode()), "this is how it would look"
    assert not shows_token(json.dumps({**message, "body": ""}))


@pytest.fixture
def events(redis_url: str) -> Iterator[list[dict[str, Any]]]:
    """Every event that anybody sends, as Flower gets them."""
    found: list[dict[str, Any]] = []
    app = Celery(broker=redis_url, set_as_current=False)
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": found.append})
        thread = threading.Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True)
        thread.start()
        yield found
        receiver.should_stop = True
        thread.join(10)


def test_nothing_that_people_see_of_a_running_task_shows_its_token(
    environment: dict[str, str], redis_url: str, events: list[dict[str, Any]], tmp_path: Path
) -> None:
    words = worker_command(queues.load(), "onboarding")
    variables = {**environment, "AIRLANE_PART": "worker-onboarding"}
    app = Celery(broker=redis_url, set_as_current=False)
    inspect = app.control.inspect(timeout=2)
    log = tmp_path / "log"
    arguments = ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), *words]
    with serving(arguments, log, lambda: bool(inspect.ping())):
        send(environment)
        active: dict[str, Any] = {}

        def runs() -> bool:
            active.update(inspect.active() or {})
            return any(active.values())

        wait_until(runs, "the task to run")
        shown = [active, inspect.reserved(), inspect.scheduled(), inspect.stats(), inspect.conf()]
        assert DESCRIPTION in str(active)
        assert not shows_token(str(shown))
        kinds = {"task-received", "task-started"}
        wait_until(lambda: kinds <= {event["type"] for event in events}, "the task's events")
        told = [event for event in events if event["type"] == "task-received"]
        assert told[0]["args"] == DESCRIPTION
        begun = [event for event in events if event["type"] == "task-started"]
        assert begun[0]["routing_key"] == "onboarding"
        assert not shows_token(str(events))
    said = log.read_text()
    assert "signup-1" in said, "the worker's log is where it was looked for"
    config = (tmp_path / "airflow" / "airflow.cfg").read_text()
    assert ("TaskPool: Apply" in said) == ("logging_level = DEBUG" in config)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("attempt=1.log" in path.name for path in files), "the task's log too"
    assert [path for path in files if shows_token(path.read_text(errors="replace"))] == []
