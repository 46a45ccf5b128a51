from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from airflow_config.durations import UNITS, Duration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("3m", 180), ("6h", 21_600), ("1d", 86_400)]
)
def test_units(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "60", 60, "0s", "-1s", "1.5h", "1h30m", "1 h", "1H", "1w", "\u0663m", None, True]
)
def test_refuses_what_has_no_single_reading(text):
    with pytest.raises(ValueError, match=r"expected a duration such as 90s, 3m, 6h or 1d, found "):
        parse_duration(text)


@given(st.integers(1, 9_999_999), st.sampled_from(sorted(UNITS)))
def test_what_is_written_reads_back_equal(number, unit):
    duration = parse_duration(f"{number}{unit}")
    assert duration == timedelta(seconds=number * UNITS[unit])
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("duration", [timedelta(0), timedelta(milliseconds=1500)])
def test_writes_whole_seconds_only(duration):
    with pytest.raises(ValueError, match="whole seconds"):
        format_duration(duration)


def test_as_a_field():
    class Model(BaseModel):
        wait: Duration

    assert Model.model_validate({"wait": "120s"}).model_dump() == {"wait": "2m"}
    with pytest.raises(ValidationError, match="expected a duration such as 90s"):
        Model.model_validate({"wait": 120})
