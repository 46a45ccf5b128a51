"""What commands print."""

from __future__ import annotations

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlane.output import decision_line, print_json, seconds


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0.0 s"),
        (1.26, "1.3 s"),
        (99.94, "99.9 s"),
        (99.96, "1 min 40 s"),
        (119.6, "2 min 0 s"),
        (3599.6, "1 h 0 min"),
        (3600 * 26 + 61, "26 h 1 min"),
    ],
)
def test_durations_as_people_read_them(value: float | None, shown: str) -> None:
    assert seconds(value) == shown


@given(st.floats(0, 1e7))
def test_no_unit_overflows(value: float) -> None:
    words = seconds(value).split()
    numbers = dict(zip(words[1::2], map(float, words[::2]), strict=True))
    assert numbers.get("min", 0) < 60
    assert "min" not in numbers or numbers.get("s", 0) < 60
    assert numbers.get("s", 0) < 100


def test_json_is_one_line_in_the_languages_own_letters(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"reason": "höher\nals"})
    out = capsys.readouterr().out
    assert out == '{"reason": "höher\\nals"}\n'
    assert json.loads(out) == {"reason": "höher\nals"}


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_json_is_json_whatever_standard_output_takes(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    value = {"payload": "half a pair \ud83d", "reason": "höher … \U0001f600"}
    print_json(value)
    assert json.loads(written.getvalue().decode(encoding)) == value


def test_a_decision_in_a_line() -> None:
    decision = {
        "entity_id": "7",
        "decision": "review",
        "score": 0.234,
        "seconds": 1.5,
        "reasons": ["a", "b"],
    }
    assert decision_line(decision) == "applicant    7 review risk 0.23 after 1.5 s: a; b"
    nothing = {**decision, "decision": None, "score": None, "seconds": None, "reasons": []}
    assert decision_line(nothing) == "applicant    7 not decided yet"
