"""`airlane model` and `airlane replay` as they are typed, on a real database `app`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from airlane import lone_task, model_commands, replay_commands
from dags.packs import model_store
from dags.packs.model_kinds import FRAUD
from intake import ledger, model_registry
from tests.app_database import AppDatabase
from tests.command_line import Airlane, runner


class NoAirflow:
    def __enter__(self) -> NoAirflow:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def airlane(
    app_db: AppDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Airlane:
    """Run a command line that reaches this test's database."""
    reached = SimpleNamespace(app_db=app_db.owner, airflow=NoAirflow)
    for module in (model_commands, replay_commands):
        monkeypatch.setattr(module, "reach", lambda: reached)
    monkeypatch.setenv("SUDO_USER", "ann")

    return runner(monkeypatch, capsys)


@pytest.fixture
def two(worker_engine: Engine) -> None:
    """Two versions of the model, the second one made from more; one of the distributions."""
    for auc, records in ((0.7, None), (0.78, 705)):
        info: dict[str, Any] = {"metrics": {"auc": auc}}
        if records:
            info["metrics"] |= {"ks": 0.4777, "brier": 0.17}
            info |= {"records": records, "features": ["housing"], "data_sha256": "a0ff0944" * 8}
        model_registry.add(worker_engine, *model_store.packed({"auc": auc}, info))
    info = {"metrics": {"bits": 1.7, "doubted": 0.1}}
    model_registry.add(worker_engine, *model_store.packed({}, info, FRAUD), kind="fraud")


def versions(airlane: Airlane, *words: str) -> dict[str, Any]:
    ended = airlane("model", "list", *words, "--json")
    assert ended.code == 0, ended.err
    return {found["version"]: found for found in json.loads(ended.out)}


@pytest.mark.usefixtures("two")
def test_versions_are_listed_with_what_is_known_of_them(airlane: Airlane) -> None:
    found = versions(airlane)
    assert list(found) == ["risk-1", "risk-2", "fraud-1"]
    assert list(versions(airlane, "fraud")) == ["fraud-1"]
    assert found["risk-1"]["records"] is None
    assert found["risk-2"]["metrics"] == {"auc": 0.78, "ks": 0.4777, "brier": 0.17}
    assert airlane("model", "promote", "risk-2", "--reason", "the better one").code == 0
    table = airlane("model", "list", "risk").out
    line = next(line for line in table.splitlines() if "risk-2" in line)
    for part in ("risk-2 *", "0.7800", "0.4777", "705", "a0ff0944"):
        assert part in line
    # the last column is wrapped
    assert all(word in table for word in ("ann@", "better", "one"))


@pytest.mark.usefixtures("two")
def test_promote_and_rollback_are_recorded_with_who_and_why(airlane: Airlane) -> None:
    for version in ("risk-1", "risk-2"):
        ended = airlane("model", "promote", version, "--reason", "a try", "--json")
        assert json.loads(ended.out) == {"version": version, "changed": True}
    again = airlane("model", "promote", "risk-2", "--reason", "a try")
    assert (again.code, "in use already" in again.out) == (0, True)
    back = airlane("model", "rollback", "risk", "--reason", "declines students", "--json")
    assert json.loads(back.out) == {"version": "risk-1", "before": "risk-2"}
    found = versions(airlane)
    assert [version for version in found if found[version]["in_use"]] == ["risk-1"]
    last = found["risk-1"]["promotions"][-1]
    assert last["by"].startswith("ann@")
    assert (last["reason"], last["action"]) == ("declines students", "rollback")
    assert datetime.fromisoformat(last["at"]).tzinfo is not None
    ended = airlane("model", "rollback", "risk", "--reason", "again")
    assert (ended.code, "found only risk-1" in ended.err) == (1, True)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("promote", "risk-9", "--reason", "x"), 1, "the newest are: risk-1, risk-2"),
        (("promote", "age-1", "--reason", "x"), 1, "such as risk-7 or fraud-3, found 'age-1'"),
        (("promote", "risk-1"), 2, "--reason"),
        (("promote", "risk-1", "--reason", " "), 2, "expected a few words"),
        (("rollback", "fraud", "--reason", "x"), 1, "found none"),
        (("rollback", "fraut", "--reason", "x"), 2, "did you mean 'fraud'"),
        (("list", "risk-1"), 2, "expected one of"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(
    airlane: Airlane, words: tuple[str, ...], code: int, said: str
) -> None:
    ended = airlane("model", *words)
    assert ended.code == code
    flat = " ".join(ended.err.replace("│", " ").split())
    assert said in flat
    assert "Traceback" not in ended.err
    assert not any(version["in_use"] for version in versions(airlane).values())


@pytest.mark.usefixtures("two")
def test_a_damaged_version_is_refused(airlane: Airlane, owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text("ALTER TABLE models DROP CONSTRAINT models_sha256"))
        connection.execute(text("UPDATE models SET content = 'torn' WHERE number = 2"))
    ended = airlane("model", "promote", "risk-2", "--reason", "x")
    assert (ended.code, "is damaged or exchanged" in ended.err) == (1, True)


DECISION = ledger.Decision(
    event_id="e1",
    entity_id="7",
    decision="approve",
    score=0.125,
    reasons=["has savings"],
    model_version="risk-1",
    signed_up_at=datetime(2026, 3, 1, tzinfo=UTC),
    run_id="signup-e1",
)
INPUTS = ledger.Inputs(
    record={},
    versions={"risk": {"name": "risk-1", "sha256": "00"}},
    release="1",
    packs_sha256="11",
    scikit_learn="2",
)


@pytest.mark.parametrize(("same", "code"), [(True, 0), (False, 1), (None, 1)])
def test_a_replay_ends_with_what_the_worker_found(
    airlane: Airlane,
    worker_engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    same: bool | None,
    code: int,
) -> None:
    ledger.record(worker_engine, DECISION, INPUTS)
    now = None if same is None else {"decision": "review", "score": 0.2, "reasons": ["because"]}
    answer = {"same": same, "why": ["the packs have changed"], "now": now}
    asked: list[dict[str, Any]] = []

    def run(_task: lone_task.LoneTask, conf: dict[str, Any], _timeout: float) -> dict[str, Any]:
        asked.append(conf)
        return answer

    monkeypatch.setattr(lone_task.LoneTask, "run", run)
    ended = airlane("replay", "e1", "--json")
    assert ended.code == code, ended.err
    assert json.loads(ended.out) == {
        "event_id": "e1",
        **answer,
        "then": {
            "decision": "approve",
            "score": 0.125,
            "reasons": ["has savings"],
            "model_version": "risk-1",
        },
        "versions": {"risk": "risk-1"},
        "release": "1",
    }
    people = airlane("replay", "e1")
    assert people.code == code
    for part in ("approve risk 0.12", "made with: risk-1; release 1", "the packs have changed"):
        assert part in people.out
    assert asked == [{"event_id": "e1"}] * 2


@pytest.mark.parametrize("event", ["e2", "", "a\0b", "' OR 1=1"])
def test_a_replay_of_an_event_that_nobody_decided(airlane: Airlane, event: str) -> None:
    ended = airlane("replay", event)
    assert ended.code == 2
    assert "expected the id of a decided event" in ended.err


def test_a_replay_that_gets_no_answer(
    airlane: Airlane, worker_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.record(worker_engine, DECISION)

    def run(*_: object) -> None:
        raise lone_task.NoAnswerError("none within 1 s")

    monkeypatch.setattr(lone_task.LoneTask, "run", run)
    ended = airlane("replay", "e1")
    assert (ended.code, "none within 1 s" in ended.err) == (1, True)
