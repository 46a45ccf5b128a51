"""When a worker counts as stuck: only when it could take a message and does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workers.watchdog import SILENCE, STALL, Consumption, Sight

IDLE = Sight(at=0.0, beat=0.0, waiting=0, free=8, taken=5, leaving=False)
LOOKS = range(0, 400, 5)


def judged(*sights: Sight) -> list[bool]:
    consumption = Consumption()
    return [consumption.goes_on(sight) for sight in sights]


def at(second: float, **facts: object) -> Sight:
    return replace(IDLE, at=second, beat=second, **facts)  # type: ignore[arg-type]


def test_an_idle_worker_goes_on() -> None:
    assert all(judged(*(at(second) for second in LOOKS)))


def test_a_worker_that_leaves_messages_lying_is_stuck_after_a_while() -> None:
    found = dict(zip(LOOKS, judged(*(at(second, waiting=3) for second in LOOKS)), strict=True))
    # the first look has nothing to compare with
    assert all(goes_on for second, goes_on in found.items() if second <= STALL)
    assert not any(goes_on for second, goes_on in found.items() if second > STALL + 10)


def test_a_worker_that_takes_messages_goes_on_whatever_waits() -> None:
    assert all(judged(*(at(second, waiting=300, taken=second) for second in LOOKS)))


def test_a_worker_with_long_tasks_goes_on() -> None:
    assert all(judged(*(at(second, waiting=300, free=0) for second in LOOKS)))


@pytest.mark.parametrize("facts", [{"leaving": True}, {"waiting": None}])
def test_who_stops_or_has_no_broker_goes_on_though_its_loop_stands_still(
    facts: dict[str, object],
) -> None:
    sights = [replace(IDLE, at=float(second), waiting=9, taken=5) for second in LOOKS]
    assert all(judged(*(replace(sight, **facts) for sight in sights)))  # type: ignore[arg-type]


def test_a_loop_that_hangs_while_the_broker_answers_is_stuck() -> None:
    found = dict(zip(LOOKS, judged(*(replace(IDLE, at=float(s)) for s in LOOKS)), strict=True))
    assert all(goes_on for second, goes_on in found.items() if second <= SILENCE)
    assert not any(goes_on for second, goes_on in found.items() if second > SILENCE)


def test_after_an_outage_of_the_broker_the_loop_has_time_to_come_back() -> None:
    consumption = Consumption()
    for second in range(0, 600, 5):
        assert consumption.goes_on(replace(IDLE, at=float(second), waiting=None))
    back = 595.0
    assert consumption.goes_on(replace(IDLE, at=back + SILENCE))
    assert not consumption.goes_on(replace(IDLE, at=back + SILENCE + 5))


def test_one_message_that_is_taken_begins_the_time_anew() -> None:
    consumption = Consumption()
    for second in range(0, 30, 5):
        assert consumption.goes_on(at(float(second), waiting=3))
    assert consumption.goes_on(at(30.0, waiting=3, taken=6))
    for second in range(35, 60, 5):
        assert consumption.goes_on(at(float(second), waiting=3, taken=6))
