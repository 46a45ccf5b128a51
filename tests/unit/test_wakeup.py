"""What notifications say."""

from __future__ import annotations

import json

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_config.wakeup import Change, WakeUp, parse


def test_a_change_names_its_run() -> None:
    text = json.dumps({"kind": "task", "dag_id": "d", "run_id": "r"})
    assert parse(text) == Change("task", "d", "r")


@pytest.mark.parametrize("text", ["", "x", "[]", "1", '{"kind": "task"}', '{"kind": "later"}'])
def test_what_this_version_does_not_know_is_nothing(text: str) -> None:
    assert parse(text) is None


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert parse(text) is None or text.startswith("{")


def test_without_a_database_it_waits_and_says_that_it_hears_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wakeup = WakeUp(lambda: psycopg.connect("host=127.0.0.1 port=1 user=x dbname=x"))
    assert wakeup.wait(0.01) == []
    assert not wakeup.listening
    assert "polls" in caplog.text
    caplog.clear()
    assert wakeup.wait(0.01) == []
    assert not caplog.text
    wakeup.close()
