"""What an application does, as far as it needs no server."""

from __future__ import annotations

import math
from typing import Any

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
