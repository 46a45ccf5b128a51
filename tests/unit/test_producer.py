"""What an application does, as far as it needs no server."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any, cast

import pytest
from redis import Redis

from intake import keys, producer


class Stream:
    """A stream of decisions with one entry for each read; notes how long each may block."""

    def __init__(self) -> None:
        self.blocks: list[int] = []

    def xread(self, streams: dict[str, str], *, block: int, count: int) -> list[Any]:  # noqa: ARG002
        self.blocks.append(block)
        number = len(self.blocks)
        return [[keys.DECISIONS, [(f"{number}-0", {"json": f'{{"event_id": "e{number}"}}'})]]]


def test_who_waits_for_ever_reads_a_second_at_a_time() -> None:
    stream: Any = Stream()
    found = producer.wait(stream, ["e2"], timeout=math.inf)
    assert list(found) == ["e2"]
    assert stream.blocks == [1000, 1000]


def test_without_time_the_stream_is_read_once() -> None:
    stream: Any = Stream()
    assert producer.wait(stream, ["e1"], timeout=0).keys() == {"e1"}
    assert stream.blocks == [1]


class Decisions:
    """A stream of so many decisions, to which one comes with each read."""

    def __init__(self, there: int) -> None:
        self.there = there
        self.reads = 0

    def xread(self, streams: dict[str, str], *, block: int, count: int) -> list[Any]:
        assert block > 0, "0 would wait for ever"
        self.reads += 1
        self.there += 1
        if self.reads > 1000:
            pytest.fail("the reader does not end")
        (after,) = streams.values()
        first = int(after.partition("-")[0]) + 1
        numbers = itertools.islice(range(first, self.there + 1), count)
        body = {n: json.dumps({"event_id": f"e{n}"}).encode() for n in numbers}
        return [[b"decisions", [(f"{n}-0".encode(), {b"json": body[n]}) for n in body]]]


def test_a_wait_ends_in_time_although_decisions_come_without_a_break() -> None:
    stream = Decisions(there=0)
    assert producer.wait(cast("Redis", stream), ["never"], timeout=0) == {}
    assert stream.reads == 1


def test_what_is_there_when_the_time_is_over_is_read() -> None:
    stream = Decisions(there=350)
    assert producer.wait(cast("Redis", stream), ["e350"], timeout=0).keys() == {"e350"}
    assert len(list(producer.follow(cast("Redis", Decisions(350)), timeout=0))) >= 350
