"""What leaves the stream `signups`, with an events server that is made up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from redis import Redis
from sqlalchemy import Engine

from intake import retention
from intake.retention import trim_signups

WEEK = timedelta(days=7)
NOTHING = cast("Engine", None)


class Signups:
    """Acknowledged sign-ups of long ago; counts how many were looked at."""

    def __init__(self, there: int) -> None:
        self.first, self.last = 1, there
        self.looked = 0

    def xinfo_groups(self, _: str) -> list[dict[str, Any]]:
        return [{"name": b"intake", "last-delivered-id": f"{self.last}-0".encode()}]

    def xpending(self, *_: str) -> dict[str, Any]:
        return {"pending": 0, "min": None}

    def xrange(self, _: str, *, min: str, max: str, count: int) -> list[Any]:  # noqa: ARG002
        first = self.first if min == "-" else int(min[1:].partition("-")[0]) + 1
        numbers = range(first, self.last + 1)[:count]
        self.looked += len(numbers)
        return [(f"{n}-0".encode(), {b"event_id": f"e{n}".encode()}) for n in numbers]

    def zmscore(self, _: str, ids: list[str]) -> list[None]:
        return [None] * len(ids)

    def xtrim(self, _: str, *, minid: str, approximate: bool) -> None:
        assert not approximate
        milliseconds, _, sequence = minid.partition("-")
        self.first = int(milliseconds) + (sequence != "0")

    def zremrangebyscore(self, *_: str) -> None:
        pass


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    found: set[str] = set()
    monkeypatch.setattr(
        retention.ledger, "decided", lambda _, names: {n for n in names if n not in found}
    )
    return found


@pytest.mark.usefixtures("undecided")
def test_a_pass_ends_soon_and_the_next_one_goes_on() -> None:
    stream = Signups(there=12_000)
    client = cast("Redis", stream)
    assert not trim_signups(NOTHING, client, WEEK)
    assert stream.looked == 5_000, "decisions wait meanwhile"
    assert stream.first == 5_001
    assert not trim_signups(NOTHING, client, WEEK)
    assert trim_signups(NOTHING, client, WEEK)
    assert stream.first == 12_001
    assert trim_signups(NOTHING, client, WEEK)
    assert stream.looked == 12_000


def test_the_first_that_is_not_decided_stays_and_is_told(
    undecided: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    stream = Signups(there=1_000)
    undecided.add("e301")
    assert trim_signups(NOTHING, cast("Redis", stream), WEEK)
    assert stream.first == 301
    assert "entry 301-0" in caplog.text


def test_on_a_full_server_one_that_is_on_its_way_is_no_matter_for_a_warning(
    undecided: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    stream = Signups(there=10)
    undecided.add("e4")
    assert trim_signups(NOTHING, cast("Redis", stream), timedelta(0))
    assert stream.first == 4
    assert caplog.text == ""
