"""Answers of a Redis server, shown as redis-cli shows them."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from airlane import redis_client
from airlane.redis_client import lines

answers = st.recursive(
    st.none() | st.integers() | st.binary(max_size=20) | st.just("OK"),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (b"a", ['"a"']),
        (b"\xff", ['"\\xff"']),
        (b"a\nb", ["a\nb"]),
        (b"# Server\r\nport:1\r\n", ["# Server\nport:1\n"]),
        (b"\x1b[2J h\xc3\xb6", ['"\\x1b[2J h\u00f6"']),
        ([b"a\nb"], ['1) "a\\nb"']),
        (3, ["(integer) 3"]),
        (None, ["(nil)"]),
        ("OK", ["OK"]),
        ([], ["(empty array)"]),
        ([b"a", 1], ['1) "a"', "2) (integer) 1"]),
        (
            [[b"1-0", [b"f", b"v"]], None],
            ['1) 1) "1-0"', '   2) 1) "f"', '      2) "v"', "2) (nil)"],
        ),
        ([b"x"] * 10, [*(f' {n}) "x"' for n in range(1, 10)), '10) "x"']),
    ],
)
def test_an_answer_is_shown_as_redis_cli_shows_it(answer: Any, shown: list[str]) -> None:
    assert list(lines(answer)) == shown


def count(answer: Any) -> int:
    if isinstance(answer, list) and answer:
        return sum(count(item) for item in answer)
    return 1


@given(answers)
def test_every_value_has_a_line(answer: Any) -> None:
    assert len(list(lines(answer))) == count(answer)


def test_a_server_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_client, "_ANSWER", 0.2)
    # it takes connections and never says a word
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = redis_client.connect(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        with client, pytest.raises(redis.exceptions.TimeoutError):
            client.ping()
        server.settimeout(1)
        server.accept()[0].close()
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
