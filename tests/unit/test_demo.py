"""The demo's figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlane.demo import percentile

durations = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([1.0], 95, 1.0),
        ([2.0, 1.0], 50, 1.0),
        ([float(n) for n in range(1, 21)], 95, 19.0),
        ([float(n) for n in range(1, 21)], 50, 10.0),
        ([float(n) for n in range(1, 21)], 100, 20.0),
        ([float(n) for n in range(1, 21)], 0, 1.0),
    ],
)
def test_percentiles(values: list[float], percent: int, expected: float) -> None:
    assert percentile(values, percent) == expected


@given(durations, st.integers(1, 100))
def test_that_many_of_a_hundred_do_not_exceed_it(values: list[float], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    within = sum(value <= found for value in values)
    assert within * 100 >= percent * len(values)
    below = sum(value < found for value in values)
    assert below * 100 < percent * len(values)


@given(durations)
def test_more_percent_is_never_less(values: list[float]) -> None:
    assert percentile(values, 50) <= percentile(values, 95) <= percentile(values, 100)
