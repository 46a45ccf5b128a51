"""Sign-ups all at once, far more than are decided in a minute: each is decided once."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from intake import producer
from tests.acceptance.stack import Stack

#: Sign-ups; `AIRLANE_BURST=10000 make test-chaos` takes some hours on two cores.
COUNT = int(os.environ.get("AIRLANE_BURST", "500"))
#: Seconds for all of them: several times what two cores take.
DEADLINE = 600 + 4 * COUNT
#: Applicants there are.
APPLICANTS = 1000


@pytest.mark.timeout(DEADLINE + 600)
def test_a_burst_is_decided_once(decider: Stack) -> None:
    letters = len(decider.json("dead", "list"))
    at = datetime.now(UTC)
    events = {uuid4().hex: 1 + number % APPLICANTS for number in range(COUNT)}
    with decider.events("producer") as client:
        for event, entity in events.items():
            producer.signup(client, entity, event_id=event, at=at)
    decisions = decider.decided(events, DEADLINE)
    decider.await_intake()
    decider.expect_once(events)
    assert {d["event_id"]: int(d["entity_id"]) for d in decisions.values()} == events
    assert "error" not in {decision["decision"] for decision in decisions.values()}
    assert len(decider.json("dead", "list")) == letters
    took = (datetime.now(UTC) - at).total_seconds()
    print(f"{COUNT} sign-ups decided in {took:.0f} s: {COUNT / took:.2f}/s")  # noqa: T201 - a figure
