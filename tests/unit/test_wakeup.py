"""What notifications say."""

from __future__ import annotations

import json
from collections.abc import Callable

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


def away() -> psycopg.Connection:
    return psycopg.connect("host=127.0.0.1 port=1 user=x dbname=x")


def other_driver() -> psycopg.Connection:
    raise TypeError("expected psycopg 3")


@pytest.mark.parametrize("connect", [away, other_driver])
def test_without_a_database_it_waits_and_says_that_it_hears_nothing(
    caplog: pytest.LogCaptureFixture, connect: Callable[[], psycopg.Connection]
) -> None:
    wakeup = WakeUp(connect)
    assert wakeup.wait(0.01) == []
    assert not wakeup.listening
    assert "polls" in caplog.text
    caplog.clear()
    assert wakeup.wait(0.01) == []
    assert not caplog.text
    wakeup.close()
