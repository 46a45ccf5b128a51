"""`airlane replay`, as far as it needs no server."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from airlane import lone_task, replay_commands
from intake import database, ledger
from tests.command_line import runner


def test_a_replay_that_no_worker_makes_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reached = SimpleNamespace(app_db="", airflow=nullcontext)
    monkeypatch.setattr(replay_commands, "reach", lambda: reached)
    monkeypatch.setattr(database, "engine", lambda _: None)
    monkeypatch.setattr(ledger, "find", lambda *_: SimpleNamespace())
    monkeypatch.setattr(ledger, "inputs", lambda *_: None)

    def run(*_: object) -> None:
        raise lone_task.NoAnswerError("none within 1 s")

    monkeypatch.setattr(lone_task.LoneTask, "run", run)
    ended = runner(monkeypatch, capsys)("replay", "e1", "--json")
    said = "airlane: expected a worker to make the decision again, found: none within 1 s\n"
    assert (ended.code, ended.out, ended.err) == (1, "", said)
