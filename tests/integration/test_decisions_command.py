"""`airlane decisions`: what the ledger holds, whether or not the events server is there."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine

from airlane import intake_commands
from tests.app_database import AppDatabase
from tests.command_line import runner
from tests.integration.relay.decisions import decide

#: Nobody listens there.
NOWHERE = "redis://127.0.0.1:1/0"


def test_decisions_are_shown_while_the_events_server_is_away(
    app_db: AppDatabase,
    worker_engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decide(worker_engine, "a", "b")
    reached = SimpleNamespace(events=NOWHERE, app_db=app_db.worker)
    monkeypatch.setattr(intake_commands, "reach", lambda: reached)
    airlane = runner(monkeypatch, capsys)
    shown = airlane("decisions", "--json")
    assert shown.code == 0, shown.err
    assert [json.loads(line)["event_id"] for line in shown.out.splitlines()] == ["a", "b"]
    assert airlane("decisions", "--follow").code == 1, "what comes is told by the server"
