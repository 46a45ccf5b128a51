"""What `airlane db top` prints."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from airlane import db_commands
from airlane.cli import app
from deploy.local import statements
from deploy.local.statements import Statement, Top

SINCE = datetime(2026, 11, 22, 13, 50, 52, tzinfo=UTC)
LINE = Statement(
    database="airflow",
    login="airflow",
    statement="SELECT a,\n   b[1] FROM t WHERE id = $1",
    calls=960,
    total_s=0.412,
    mean_ms=0.429,
    rows=12,
    share=0.25,
    calls_per_task=4.0,
    ms_per_task=1.717,
)
#: Nothing was run, no task has ended.
BARE = Statement("app", "airlane_owner", "SELECT $1", 0, 0.0, 0.0, 0, None, None, None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Answer with two statements; return what was asked for."""
    calls: list[object] = []

    def top(_instance: object, limit: int) -> Top:
        calls.append(limit)
        return Top(SINCE, 240, [LINE, BARE])

    def forget(_instance: object) -> datetime:
        calls.append("forget")
        return SINCE

    monkeypatch.setattr(db_commands, "existing", lambda: None)
    monkeypatch.setattr(statements, "top", top)
    monkeypatch.setattr(statements, "forget", forget)
    return calls


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["db", "top", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_person_sees_a_line_for_each(asked: list[object]) -> None:
    text = run("--limit", "5")
    assert asked == [5]
    assert "airflow: SELECT a, b[1] FROM t WHERE id = $1" in text
    for cell in ("0.4 s", "25.0%", "0.43 ms", "960", "4.00", "1.72", "240 tasks ended"):
        assert cell in text


def test_full_shows_all_of_a_long_statement(
    asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = replace(LINE, statement="SELECT a " + "FROM t " * 30 + "WHERE id = $1")
    monkeypatch.setattr(statements, "top", lambda *_: Top(SINCE, 240, [long]))
    # a narrow terminal breaks it anywhere
    assert "WHEREid=$1" not in "".join(run().split())
    assert "WHEREid=$1" in "".join(run("--full").split())


def test_a_program_gets_all_of_it(asked: list[object]) -> None:
    found = json.loads(run("--json"))
    assert found["since"] == "2026-11-22T13:50:52+00:00"
    assert found["tasks"] == 240
    assert found["statements"][0]["statement"] == LINE.statement
    assert found["statements"][1]["calls_per_task"] is None


def test_reset_forgets_and_shows_nothing_else(asked: list[object]) -> None:
    assert json.loads(run("--reset", "--json")) == {"since": "2026-11-22T13:50:52+00:00"}
    assert "count from 2026-11-22" in run("--reset")
    assert asked == ["forget", "forget"]


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT " + "column, " * 50 + "x FROM t", "SELECT column, column, column, co… FROM t"),
    ],
)
def test_a_long_list_of_columns_is_shortened(statement: str, shown: str) -> None:
    assert db_commands.shortened(statement) == shown


def test_a_long_statement_ends_with_a_mark() -> None:
    text = db_commands.shortened("UPDATE t SET " + "x = 1, " * 50)
    assert len(text) == 100
    assert text.endswith("…")
