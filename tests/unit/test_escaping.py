"""Text of somebody else's on a terminal."""

from __future__ import annotations

from intake.escaping import printable


def test_what_a_producer_sends_cannot_write_on_a_terminal() -> None:
    assert printable("höher, 1 < 2 \U0001f600") == "höher, 1 < 2 \U0001f600"
    assert printable("a\x1b[2J\nb\r\ud800") == "a\\x1b[2J\\nb\\r\\ud800"
