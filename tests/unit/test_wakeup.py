"""What notifications say, and who waits for them."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from unittest.mock import MagicMock

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


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process have more open files than `select` takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip("this system allows no more open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_it_waits_beside_a_thousand_open_files() -> None:
    ours, theirs = socket.socketpair()
    connection = MagicMock(psycopg.Connection)
    connection.fileno.return_value = fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, 2000)
    connection.notifies.side_effect = [[], [SimpleNamespace(payload='{"kind":"dag","dag_id":"d"}')]]
    theirs.send(b"x")
    with ours, theirs:
        assert WakeUp(lambda: connection).wait(60) == [Change("dag", "d")]
    os.close(connection.fileno())
