"""When the benchmark takes a flood for one that flows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.benchmarks import flow, stack
from tests.benchmarks.flow import await_steady, is_steady


@pytest.mark.parametrize(
    ("rates", "steady"),
    [([10, 11, 9], True), ([0.5, 10, 11], False), ([0, 0, 0], False), ([10, 10, 5], False)],
)
def test_a_steady_pace_is_about_the_same_in_each_window(rates: list[float], steady: bool) -> None:
    assert is_steady(rates) is steady


class Clock:
    """Stands for the time of both modules; a second passes with each look."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (flow, stack):
        monkeypatch.setattr(module, "time", clock)
    return clock


def flood(clock: Clock, *, made_after: float, full_after: float) -> SimpleNamespace:
    """Return a stack whose tasks are made, and then run at 10 a second, after so many seconds."""
    begin = clock.now

    def number(*_: object) -> int:
        return 100 if clock.now - begin >= made_after else 9

    def rows(_query: str, window: dict[str, float]) -> list[tuple[float, float]]:
        at = window["start"]
        return [(at, at + 0.01)] * (40 if at - begin >= full_after else 2)

    return SimpleNamespace(name="airlane", metadata=SimpleNamespace(number=number, rows=rows))


@pytest.mark.parametrize(
    ("made_after", "full_after", "expected"), [(5, 10, 22), (30, 10, 30), (0, 0, 12)]
)
def test_a_flood_flows_when_all_is_made_and_its_pace_is_steady(
    clock: Clock, made_after: float, full_after: float, expected: float
) -> None:
    one = flood(clock, made_after=made_after, full_after=full_after)
    begin = clock.now
    # the ramp looks steady too while nothing but the first tasks run: then not all are made
    assert await_steady(one, "flood", begin, 100, 0) == []  # type: ignore[arg-type]
    assert clock.now - begin >= made_after
    assert clock.now - begin <= max(expected, made_after) + 1


def test_one_that_never_becomes_steady_is_noted(clock: Clock) -> None:
    one = flood(clock, made_after=10_000, full_after=0)
    (note,) = await_steady(one, "flood", clock.now, 100, 0)  # type: ignore[arg-type]
    assert "not steady after 150 s" in note
