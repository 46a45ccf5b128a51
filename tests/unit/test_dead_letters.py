from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.dead_letters import DeadLetter, next_id
from intake.events import MAX_EVENT_ID, parse

AT = {b"entity_id": b"1", b"at": b"2026-03-01T12:00:00Z"}


@pytest.mark.parametrize(
    ("event_id", "expected"),
    [("a", "a.r2"), ("a.r2", "a.r3"), ("a.r9", "a.r10"), ("a.r0", "a.r0.r2"), ("a.", "a.r2")],
)
def test_a_second_try_has_the_next_id(event_id: str, expected: str) -> None:
    assert next_id(event_id) == expected


@given(st.from_regex(r"[A-Za-z0-9_~:+-]([A-Za-z0-9_~:+-]|\.(?!\.)){0,199}", fullmatch=True))
def test_every_id_has_a_valid_next_id_for_ever(event_id: str) -> None:
    seen = {event_id}
    for _ in range(12):
        event_id = next_id(event_id)
        assert event_id not in seen
        assert len(event_id) <= MAX_EVENT_ID
        assert parse({**AT, b"event_id": event_id.encode()}, "now").event_id == event_id
        seen.add(event_id)


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"{", "{"),
        (b"NaN", "NaN"),
        (b'{"a": -Infinity}', '{"a": -Infinity}'),
        (b"1e999", "1e999"),
        (b"\xff", "\\xff"),
    ],
)
def test_a_letter_is_json_whatever_was_sent(payload: bytes, shown: object) -> None:
    letter = DeadLetter("1-0", "payload: expected JSON", "1-0", {"payload": payload})
    assert letter.event["payload"] == shown
    json.dumps(letter.to_json(), allow_nan=False)
