"""`airlane queues --watch` while `airlane apply` puts another queues.yaml to use."""

from __future__ import annotations

import json
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from airflow_config import live_workers, queues
from airflow_config.queues import Fleet, QueuesError
from airlane import queue_commands, queue_history, queue_state
from airlane.model_in_use import ModelInUse
from airlane.queue_history import History
from airlane.queue_state import QueueState
from airlane.reach import Reach
from deploy.files import write_private
from tests.command_line import runner

MODEL = """\
queues: {rest: {priority: 1, default: true, task_timeout: 2h}}
workers: {rest: {home: rest, concurrency: 4}}
"""
APPLIED = """\
queues:
  quick: {priority: 9, promise: {end_to_end: 20m, task: 1m, gap: 5s}, task_timeout: 30s}
  rest: {priority: 1, default: true, task_timeout: 2h}
workers:
  quick: {home: quick, concurrency: 2}
  rest: {home: rest, concurrency: 4}
"""


@pytest.fixture
def reached(tmp_path: Path) -> Reach:
    file = tmp_path / "queues.yaml"
    write_private(file, MODEL)
    return Reach(
        fleet=queues.load(file),
        queues_file=file,
        **dict.fromkeys(("broker", "events", "app_db", "metadata_db", "api_url"), ""),
        admin_password="",
    )


class Past:
    """A history of queues in which nothing was done."""

    def __init__(self, *_: str) -> None: ...

    def look(self, fleet: Fleet) -> dict[str, History]:
        return {name: History() for name in fleet.queues}

    def close(self) -> None: ...


def state(fleet: Fleet, _: object, lately: dict[str, History]) -> list[QueueState]:
    """Give of each queue what comes from the model alone."""
    assert list(lately) == list(fleet.queues), "one look, one model"
    nothing = dict.fromkeys(QueueState.__dataclass_fields__, 0)
    return [
        QueueState(**{**nothing, "name": name, "promise": queue.promise and {"task": 60.0}})
        for name, queue in fleet.queues.items()
    ]


def test_a_queue_that_was_applied_shows_at_the_next_look(
    reached: Reach, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = iter((APPLIED, "queues: {}", MODEL, None))

    def wait(*_: object) -> bool:
        text = next(looks)
        if text is None:
            raise KeyboardInterrupt
        write_private(reached.queues_file, text)
        return False

    monkeypatch.setattr(threading.Event, "wait", wait)
    monkeypatch.setattr(queue_commands, "reach", lambda: reached)
    monkeypatch.setattr(live_workers, "connect", lambda *_: nullcontext())
    monkeypatch.setattr(queue_history, "Historian", Past)
    monkeypatch.setattr(queue_state, "queue_states", state)
    ended = runner(monkeypatch, capsys)("queues", "--watch", "--json")
    shown = [
        {queue["name"]: queue["promise"] for queue in json.loads(line)}
        for line in ended.out.splitlines()
    ]
    assert shown == [{"rest": None}, {"quick": {"task": 60.0}, "rest": None}, {"rest": None}]
    assert ended.err.count("the last look failed: QueuesError") == 1, "of the damaged one alone"
    assert ended.code == 130


def test_a_file_that_did_not_change_is_read_once(
    reached: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, load = [], queues.load
    monkeypatch.setattr(queues, "load", lambda file: read.append(file) or load(file))
    model = ModelInUse(reached)
    for text, names in ((MODEL, ["rest"]), (APPLIED, ["quick", "rest"])):
        write_private(reached.queues_file, text)
        assert [list(model.now().queues) for _ in range(3)] == [names] * 3
    assert read == [reached.queues_file] * 2


def test_a_damaged_file_is_told_until_it_is_whole(reached: Reach) -> None:
    model = ModelInUse(reached)
    write_private(reached.queues_file, "queues: {}")
    for _ in range(2):
        with pytest.raises(QueuesError, match="queues"):
            model.now()
    reached.queues_file.unlink()
    assert list(model.now().queues) == ["rest"], "as it was, when the stack is gone"
