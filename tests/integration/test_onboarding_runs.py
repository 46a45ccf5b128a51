"""Whole runs of our DAGs on Airflow's own state machine and a real `app` database."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_config.place import ROOT
from intake import applicants, database, ledger, model_registry

#: Seconds: all the DAGs run to their end in the time of the first test.
pytestmark = pytest.mark.timeout(900)

SIGNED_UP = "2026-01-31T12:00:00+00:00"
STEPS = (
    "skip_or_decide",
    "load_applicant",
    "bank_data",
    "affordability",
    "fraud",
    "credit_score",
    "strategy",
    "set_entity_done",
)


def signup(event_id, entity_id):
    event = {"event_id": event_id, "entity_id": entity_id, "at": SIGNED_UP, "payload": None}
    return {"dag": "onboarding", "conf": {"event": event}}


PLANS = {
    "no model yet": signup("early", "3"),
    "train": {"dag": "train_risk_model"},
    "decide": signup("good", "3"),
    "distributions": {"dag": "fraud_distributions"},
    "decide with them": signup("newer", "4"),
    "replay": {"dag": "airlane_replay", "conf": {"event_id": "good"}},
    "replay newer": {"dag": "airlane_replay", "conf": {"event_id": "newer"}},
    "replay an error": {"dag": "airlane_replay", "conf": {"event_id": "early"}},
    "again": signup("good", "3"),
    "unknown": signup("unknown", "1001"),
    "unreadable id": signup("odd", "1_0"),
    "broken pack": signup("broken", "6") | {"break": ["fraud", "the pack has a bug"]},
    "broken strategy": signup("lost", "6") | {"break": ["strategy", "no idea"]},
    "broken end": signup("unwritten", "6") | {"break": ["set_entity_done", "disk full"]},
    "no event": {"dag": "onboarding", "conf": {}},
    "rescore": {"dag": "rescore_portfolio", "conf": {"first": 999, "count": 5}},
}


@pytest.fixture(scope="module")
def app(postgres):
    owner = postgres.create_database("app_for_runs")
    database.migrate(owner)
    database.grant(owner)
    engine = database.engine(owner)
    applicants.load_csv(engine, ROOT / "data" / "german_credit.csv")
    yield engine, postgres.url("app_for_runs", "airlane_worker")
    engine.dispose()


@pytest.fixture(scope="module")
def runs(app, tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    plan, result = home / "plan.json", home / "result.json"
    plan.write_text(json.dumps(list(PLANS.values())))
    env = {name: value for name, value in os.environ.items() if "AIR" not in name} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRLANE_HOME": str(home / "airlane"),
        "AIRLANE_APP_DB_URL": app[1],
    }
    airflow = Path(sys.executable).with_name("airflow")
    for words in (
        [airflow, "db", "migrate"],
        [sys.executable, Path(__file__).with_name("dag_runs.py"), plan, result],
    ):
        ended = subprocess.run(
            words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=400, check=False
        )
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return dict(zip(PLANS, json.loads(result.read_text()), strict=True))


@pytest.fixture
def decided(app):
    return lambda event_id: ledger.find(app[0], event_id)


def states(run, **but):
    assert run["tasks"] == dict.fromkeys(STEPS, "success") | {"set_entity_error": "skipped"} | but


def test_a_sign_up_is_decided(runs, decided):
    states(runs["decide"])
    assert runs["decide"]["state"] == "success"
    found = decided("good")
    assert found.decision == "approve"
    assert 0 < found.score < 0.14
    assert found.reasons
    assert (found.entity_id, found.model_version) == ("3", "risk-1")
    assert found.signed_up_at == datetime.fromisoformat(SIGNED_UP)
    assert found.decided_at > datetime(2026, 1, 1, tzinfo=UTC)


def test_an_event_decided_before_is_skipped(runs):
    states(
        runs["again"],
        **dict.fromkeys(STEPS[1:], "skipped"),
        set_entity_error="skipped",
    )
    assert runs["again"]["state"] == "success"


def fails(run, failed, upstream_failed):
    states(
        run,
        **dict.fromkeys(failed, "failed"),
        **dict.fromkeys(upstream_failed, "upstream_failed"),
        set_entity_error="failed",
    )
    assert run["state"] == "failed"


def test_an_unknown_applicant_gets_an_error_that_names_him(runs, decided):
    fails(runs["unknown"], STEPS[1:2], STEPS[2:])
    found = decided("unknown")
    assert (found.decision, found.score, found.model_version) == ("error", None, None)
    assert found.reasons == [
        "load_applicant: expected a known applicant, found entity_id 1001"
    ]  # fmt: skip
    assert "'1_0'" in decided("odd").reasons[0]


def test_without_a_model_the_error_says_what_to_do(runs, decided):
    fails(runs["no model yet"], STEPS[1:2], STEPS[2:])
    assert decided("early").reasons == [
        "load_applicant: no risk model is promoted yet: run the DAG train_risk_model once"
    ]


def test_a_failing_pack_gets_an_error_that_names_it(runs, decided):
    fails(runs["broken pack"], ["fraud"], STEPS[6:])
    assert decided("broken").reasons == ["fraud: the pack has a bug"]
    assert decided("lost").reasons == ["strategy: no idea"]
    fails(runs["broken strategy"], ["strategy"], STEPS[7:])


def test_a_failing_last_step_gets_an_error_too(runs, decided):
    fails(runs["broken end"], ["set_entity_done"], [])
    assert decided("unwritten").reasons == ["set_entity_done: disk full"]


def test_a_run_without_an_event_fails_and_answers_nobody(runs):
    fails(runs["no event"], ["skip_or_decide"], STEPS[1:])


def test_training_reports_its_auc_and_promotes(runs):
    assert runs["train"]["state"] == "success"
    assert 0.75 <= runs["train"]["xcoms"]["train"]["auc"] <= 0.80
    assert runs["train"]["xcoms"]["promote"]["promoted"] is True


def test_distributions_are_made_in_parts_and_promoted(runs, app):
    run = runs["distributions"]
    assert run["state"] == "success"
    assert run["mapped"] == [["count", "success"]] * 16 + [["judge", "success"]] * 5
    assert run["xcoms"]["promote"]["promoted"] is True
    (made,) = model_registry.versions(app[0], ["fraud"])
    (trained,) = model_registry.versions(app[0], ["risk"])
    assert (made.version, made.in_use, trained.in_use) == ("fraud-1", True, True)
    assert made.info["data_sha256"] == trained.info["data_sha256"]
    assert made.promotions[0].by.startswith("fraud_distributions ")
    assert "doubted records 0.1277) is the first" in made.promotions[0].reason


def test_what_a_decision_was_made_from_is_kept_with_it(app, runs):
    assert ledger.inputs(app[0], "good").versions.keys() == {"risk"}
    kept = ledger.inputs(app[0], "newer")
    assert {kind: one["name"] for kind, one in kept.versions.items()} == {
        "risk": "risk-1",
        "fraud": "fraud-1",
    }
    assert "age_in_years" not in kept.record
    assert ledger.inputs(app[0], "unknown") is None


def test_a_decision_is_made_again_with_what_it_was_made_with(runs, decided):
    for run, event in (("replay", "good"), ("replay newer", "newer")):
        found = runs[run]["xcoms"]["replay"]
        assert (found["same"], found["why"]) == (True, [])
        assert found["now"]["score"] == decided(event).score
        assert found["now"]["reasons"] == decided(event).reasons
    error = runs["replay an error"]["xcoms"]["replay"]
    assert (error["same"], error["now"]) == (None, None)
    assert "nothing was computed" in error["why"][0]


def test_rescoring_is_a_task_for_each_applicant(runs):
    run = runs["rescore"]
    assert run["state"] == "success"
    assert run["mapped"] == [["rescore", "success"]] * 2  # 999 and 1,000; there are no more
    assert run["xcoms"]["summary"]["applicants"] == 2
    assert run["xcoms"]["summary"]["model_versions"] == {"risk-1": 2}
