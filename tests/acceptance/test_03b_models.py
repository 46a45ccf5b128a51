"""Which versions decide, the way back, and the same decision again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.stack import Stack
from tests.servers import wait_until

#: Kind -> the DAG that makes its versions.
MAKERS = {"risk": "train_risk_model", "fraud": "fraud_distributions"}


def _versions(stack: Stack) -> dict[str, dict[str, Any]]:
    return {found["version"]: found for found in stack.json("model", "list")}


def _in_use(stack: Stack) -> set[str]:
    return {name for name, found in _versions(stack).items() if found["in_use"]}


def _workers(stack: Stack) -> dict[str, int]:
    """Return the process of each worker."""
    parts = stack.json("status")["parts"]
    return {part["name"]: part["pid"] for part in parts if part["name"].startswith("worker-")}


def _decide_with(stack: Stack, wanted: set[str]) -> str:
    """Sign up until a decision is made with these versions; return its event."""
    tried: list[str] = []

    def made() -> bool:
        (event,) = stack.sign_up(16)
        stack.decided([event])
        tried.append(event)
        kept = stack.app("SELECT versions FROM decision_inputs WHERE event_id = %s", event)
        return {one["name"] for one in kept[0]["versions"].values()} == wanted

    wait_until(made, f"a decision with {sorted(wanted)}", 120)
    return tried[-1]


@pytest.fixture
def made(decider: Stack) -> Stack:
    """The stack with a new version of each kind in use."""
    for dag in MAKERS.values():
        decider.await_run(dag, decider.trigger(dag), 300)
    return decider


def test_versions_reach_running_workers_and_decisions_can_be_made_again(made: Stack) -> None:
    versions = _versions(made)
    newest = {kind: [v for v in versions if v.startswith(kind)][-1] for kind in MAKERS}
    assert _in_use(made) == set(newest.values())
    risk, fraud = versions[newest["risk"]], versions[newest["fraud"]]
    assert 0.75 < risk["metrics"]["auc"] < 0.80
    assert risk["records"] == fraud["records"] == 705
    assert risk["data_sha256"] == fraud["data_sha256"]
    assert risk["promotions"][-1]["by"].startswith("train_risk_model ")
    workers = _workers(made)

    with_both = _decide_with(made, set(newest.values()))
    made.run("model", "promote", "risk-1", "--reason", "the first one was fine")
    _decide_with(made, {"risk-1", newest["fraud"]})
    back = made.json("model", "rollback", "risk", "--reason", "it was not")
    assert back == {"version": newest["risk"], "before": "risk-1"}
    _decide_with(made, set(newest.values()))
    # nobody was restarted for it
    assert _workers(made) == workers
    last = _versions(made)[newest["risk"]]["promotions"][-1]
    assert (last["action"], last["reason"]) == ("rollback", "it was not")
    made.run("model", "promote", "risk-99", "--reason", "x", code=1)

    # with the versions of then, whatever is in use
    made.run("model", "promote", "risk-1", "--reason", "for the replay")
    found = made.json("replay", with_both)
    assert found["same"] is True, found
    assert set(found["versions"].values()) == set(newest.values())
    assert found["now"] == found["then"]
    made.run("model", "rollback", "risk", "--reason", "the replay is over")


def test_a_replay_says_why_not(decider: Stack) -> None:
    event = _decide_with(decider, _in_use(decider))
    decider.app(
        "UPDATE ledger SET score = 0.999, reasons = '[\"none\"]' WHERE event_id = %s RETURNING 1",
        event,
    )
    found = decider.json("replay", event, code=1)
    assert found["same"] is False
    assert any(line.startswith("score: 0.999 then") for line in found["why"]), found
    decider.app("DELETE FROM decision_inputs WHERE event_id = %s RETURNING 1", event)
    assert decider.json("replay", event, code=1)["same"] is None
    decider.run("replay", "nobody-knows", code=2)
