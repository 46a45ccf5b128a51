"""Events that come again, that cannot be read, that conflict: each ends where it should."""

from __future__ import annotations

import functools
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from intake import keys, producer
from intake.events import MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH, SignupEvent
from tests.acceptance.stack import Stack
from tests.servers import wait_until

#: How often one event is sent: a producer that tries again and again.
SAME = 1_000


def _letters(stack: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.json("dead", "list")
    for letter in found:
        assert set(letter) == {"id", "reason", "event"}
    return found


def test_the_same_event_again_decides_once(decider: Stack) -> None:
    event, now = uuid4().hex, datetime.now(UTC)
    before = len(_letters(decider))

    def send() -> None:
        with decider.events("producer") as client:
            producer.signup(client, 7, event_id=event, at=now, payload={"channel": "web"})

    send()
    send()
    query = "SELECT state FROM dag_run WHERE run_id = %s"
    run = f"signup-{event}"
    wait_until(lambda: bool(decider.metadata(query, run)), "the run", 120)
    send()
    first = decider.decided([event])[event]
    decider.await_run("onboarding", run, 120)
    send()
    decider.await_intake()
    # whoever comes behind is decided, and by then a second decision would have been made
    marker = decider.sign_up(8)
    decider.decided(marker)
    decider.expect_once([event, *marker])
    assert decider.decided([event])[event] == first
    assert len(_letters(decider)) == before
    # nothing of the run was done twice either
    assert {task["try_number"] for task in decider.tasks(run)} <= {0, 1}


def test_the_same_event_a_thousand_times_decides_once(decider: Stack) -> None:
    event = uuid4().hex
    before = [letter["id"] for letter in _letters(decider)]
    entry: Any = producer.fields("18", event_id=event, payload={"channel": "web"})
    with decider.events("producer") as client, client.pipeline(transaction=False) as pipeline:
        for _ in range(SAME):
            pipeline.xadd(keys.SIGNUPS, entry)
        assert len(set(pipeline.execute())) == SAME, "entries of the stream"
    decider.await_intake()
    first = decider.decided([event])
    decider.await_run("onboarding", f"signup-{event}", 120)
    # whoever comes behind is decided, and by then a second decision would have been made
    marker = decider.sign_up(19)
    decider.decided(marker)
    decider.expect_once([event, *marker])
    assert decider.decided([event]) == first
    assert [letter["id"] for letter in _letters(decider)] == before


def test_a_new_event_of_the_same_applicant_is_a_new_decision(decider: Stack) -> None:
    events = decider.sign_up(9, 9)
    found = decider.decided(events)
    decider.expect_once(events)
    assert found[events[0]]["score"] == found[events[1]]["score"]


def test_what_cannot_be_decided_is_a_dead_letter_and_holds_up_nobody(decider: Stack) -> None:
    now = datetime.now(UTC).isoformat()
    taken = decider.sign_up(10)[0]
    decider.decided([taken])
    entry = {"entity_id": "11", "at": now}
    bad: dict[str, tuple[dict[str, str], str]] = {
        "no id": ({**entry}, "event_id"),
        "no applicant": ({"event_id": uuid4().hex, "at": now}, "entity_id"),
        "a time without zone": (
            {**entry, "event_id": uuid4().hex, "at": "2026-03-01T12:00:00"},
            "at",
        ),
        "no JSON": ({**entry, "event_id": uuid4().hex, "payload": "{channel"}, "payload"),
        "oversized": (
            {**entry, "event_id": uuid4().hex, "payload": json.dumps("x" * MAX_PAYLOAD_BYTES)},
            "payload",
        ),
        "no run id": ({**entry, "event_id": "../../etc"}, "event_id"),
        "conflict": ({**entry, "event_id": taken}, "conflict"),
    }
    known = {letter["id"] for letter in _letters(decider)}
    with decider.events("producer") as client:
        for fields, _ in bad.values():
            client.xadd(keys.SIGNUPS, fields)  # type: ignore[arg-type]
    good = decider.sign_up(12)
    decider.decided(good)
    decider.await_intake()
    letters = [letter for letter in _letters(decider) if letter["id"] not in known]
    assert len(letters) == len(bad)
    for what, (fields, word) in bad.items():
        matching = [
            letter
            for letter in letters
            if letter["event"].get("event_id") == fields.get("event_id")
            and letter["event"].get("entity_id") == fields.get("entity_id")
            and letter["event"]["at"] == fields["at"]
        ]
        assert len(matching) == 1, what
        assert word in matching[0]["reason"], what
    decider.expect_once([taken, *good])
    nothing = [
        fields["event_id"] for what, (fields, _) in bad.items() if what not in {"no id", "conflict"}
    ]
    assert set(decider.counts(nothing).values()) == {(0, 0, 0)}


def test_odd_contents_reach_the_decision_unchanged(decider: Stack) -> None:
    """What a listener takes, Airflow's API, PostgreSQL and the packs take too."""
    payloads: list[Any] = [
        "\x01\x1b[2J\u202e\U0001f600",
        {"a\tb": {"": [[[]]]}},
        [2**63 - 1, -(2**63), 5e-324, -1.2345678901234567e18, -0.0],
        functools.reduce(lambda inner, _: [inner], range(MAX_PAYLOAD_DEPTH - 1), 1),
        "x" * (MAX_PAYLOAD_BYTES - 2),
        {"event_id": "another", "entity_id": None, "__class__": "os.system", "{{ 7 * 7 }}": "%s"},
    ]
    sent: dict[str, tuple[str, Any]] = {}
    with decider.events("producer") as client:
        for entity, payload in enumerate(payloads, 201):
            sent[producer.signup(client, entity, payload=payload)] = (str(entity), payload)
        odd = ["ä\u0301ß 7", "7'; DROP TABLE ledger; --", "{{ ds }}", "../7", "\u0667"]
        for entity in odd:
            sent[producer.signup(client, entity, event_id=f"~.:+-{uuid4().hex}")] = (entity, None)
    decisions = decider.decided(sent)
    decider.expect_once(sent)
    rows = decider.metadata(
        "SELECT conf->'event' AS event FROM dag_run WHERE dag_id = 'onboarding' "
        "AND conf->'event'->>'event_id' = ANY(%s)",
        list(sent),
    )
    kept = {row["event"]["event_id"]: row["event"] for row in rows}
    for event_id, (entity, payload) in sent.items():
        assert kept[event_id]["entity_id"] == decisions[event_id]["entity_id"] == entity
        event = SignupEvent(event_id, entity, kept[event_id]["at"], payload, received_at="")
        assert event.is_same({"event": kept[event_id]}), kept[event_id]
        assert (decisions[event_id]["decision"] == "error") == (entity in odd), entity


@pytest.mark.parametrize("entity", ["99999", "nobody"])
def test_an_unknown_applicant_is_answered_and_can_be_tried_again(
    decider: Stack, entity: str
) -> None:
    event = decider.sign_up(entity)[0]
    good = decider.sign_up(13)
    found = decider.decided([event, *good])
    decider.expect_once([event, *good])
    assert found[good[0]]["decision"] != "error"
    assert found[event]["decision"] == "error"
    assert found[event]["score"] is None
    assert entity in " ".join(found[event]["reasons"])

    def mine(event_id: str) -> list[dict[str, Any]]:
        return [x for x in _letters(decider) if x["event"].get("event_id") == event_id]

    letter = mine(event)[0]
    assert letter["reason"].startswith("error: ")
    assert entity in letter["reason"]
    assert decider.json("dead", "show", letter["id"]) == letter
    sent = decider.json("dead", "replay", letter["id"])
    again = f"{event}.r2"
    assert sent == {"id": letter["id"], "event_id": again}
    assert decider.decided([again])[again]["decision"] == "error"
    decider.expect_once([event, again])
    assert mine(event) == []
    wait_until(lambda: len(mine(again)) == 1, "the new dead letter", 60)
    decider.run("dead", "replay", letter["id"], code=1)
    decider.run("dead", "show", letter["id"], code=1)


def test_signup_waits_for_decisions(decider: Stack) -> None:
    found = decider.json_lines("signup", "14", "15", "--wait", "--timeout", "240")
    assert sorted(decision["entity_id"] for decision in found) == ["14", "15"]
    for decision in found:
        assert set(decision) == {
            *("event_id", "entity_id", "decision", "score", "reasons", "model_version", "seconds")
        }
        assert decision["decision"] in {"approve", "decline", "review"}
    decider.expect_once(decision["event_id"] for decision in found)
    late = decider.json_lines("signup", "16", "--wait", "--timeout", "0.01", code=1)
    assert [(d["entity_id"], d["decision"], d["seconds"]) for d in late] == [("16", None, None)]
    # not decided in time is not lost
    decider.decided([late[0]["event_id"]])
    sent = decider.json_lines("signup", "17")
    assert sent[0]["decision"] is None
    decider.decided([sent[0]["event_id"]])


def test_a_run_that_a_person_fails_is_answered_with_an_error(decider: Stack) -> None:
    with decider.airflow() as client:
        # its tasks wait, so that nothing is decided before the run is failed
        client.patch("/api/v2/dags/onboarding", json={"is_paused": True}).raise_for_status()
        try:
            (event,) = decider.sign_up(12)
            run = f"signup-{event}"
            query = "SELECT state FROM dag_run WHERE run_id = %s"
            wait_until(lambda: bool(decider.metadata(query, run)), "the run", 120)
            failed = client.patch(
                f"/api/v2/dags/onboarding/dagRuns/{run}", json={"state": "failed"}
            )
            failed.raise_for_status()
        finally:
            client.patch("/api/v2/dags/onboarding", json={"is_paused": False}).raise_for_status()
    found = decider.decided([event])[event]
    assert found["decision"] == "error"
    assert "no step recorded a decision" in found["reasons"][0]
    decider.expect_once([event])
    letter = next(entry for entry in _letters(decider) if entry["event"].get("event_id") == event)
    assert letter["reason"].startswith("error")
    decider.run("dead", "replay", letter["id"])
    again = f"{event}.r2"
    assert decider.decided([again])[again]["decision"] != "error"
