"""What the relay sends; how it publishes is in tests/integration/test_relay.py."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from redis._parsers.encoders import Encoder

from intake.ledger import Decision
from intake.outbox import _entry, _letter


@pytest.mark.parametrize("at", ["2026-03-01T12:00:00Z", None, 5, True, {"a": 1}])
def test_whatever_a_run_was_made_with_can_be_sent(at: object) -> None:
    decision = Decision(
        event_id="e",
        entity_id="7",
        decision="error",
        score=None,
        reasons=["broken"],
        model_version=None,
        signed_up_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
        run_id="signup-e",
        event={"at": at, "received_at": "2026-03-01T12:00:00Z", "payload": {"a": [None]}},
    )
    encoder = Encoder("utf-8", "strict", decode_responses=False)
    words = [*_entry(decision), *_letter(decision)]
    assert all(isinstance(encoder.encode(word), bytes) for word in words)
