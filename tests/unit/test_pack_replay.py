"""A decision that is made again comes out the same, or it is said why not."""

from __future__ import annotations

import json

import pytest
from pack_book import learnt, person, record, trained

from dags.packs import applicant, decision, fingerprint, fraud, model_store, replay, strategy
from dags.packs.model_kinds import FRAUD
from dags.packs.model_store import ModelStoreError, NoModelError
from tests import stored_models

NOW = {
    "release": "1.0",
    "packs_sha256": fingerprint.PACKS,
    "scikit_learn": fingerprint.SCIKIT_LEARN,
}


@pytest.fixture
def models(tmp_path):
    """A folder with a model in use."""
    stored = stored_models.store(tmp_path, trained().model, trained().info)
    model_store.promote(tmp_path, stored.name)
    return tmp_path


def put_to_use(models, reference):
    info = {"metrics": {"doubted": 0.1, "bits": 1.7}}
    content, description = model_store.packed(reference, info, FRAUD)
    name = f"fraud-{model_store.newest(models, FRAUD) + 1}"
    model_store.adopt(models, name, content, description, in_use=True)


def decided(models, entity_id=4):
    basis = decision.in_use(models)
    return decision.decide(person(entity_id), basis), basis


def made_again(then, basis, made_with=NOW, **changes):
    kept = json.loads(json.dumps(applicant.used({**record(4), **changes})))
    return replay.again(dict(then), kept, basis, made_with=made_with, release="1.0")


def test_the_same_comes_out(models):
    then, basis = decided(models)
    assert made_again(then, basis) == {"same": True, "why": [], "now": then}


def test_with_the_versions_of_then_whatever_is_in_use_now(models):
    then, basis = decided(models)
    put_to_use(models, fraud.learn([person(4)] * 30))
    now, other = decided(models)
    assert (basis.versions.keys(), other.versions.keys()) == ({"risk"}, {"risk", "fraud"})
    assert now["reasons"] != then["reasons"]
    assert made_again(then, decision.of(models, basis.versions))["same"]
    assert made_again(now, decision.of(models, other.versions))["same"]


def test_what_differs_is_named_with_what_changed(models, monkeypatch):
    then, basis = decided(models)
    monkeypatch.setattr(strategy, "DECLINE_FROM", 0.9)
    found = made_again(then, basis, {**NOW, "release": "0.9", "packs_sha256": "0" * 64})
    assert found["same"] is False
    assert found["why"][0] == "decision: 'decline' then, 'review' now"
    assert found["why"][-1] == (
        f"the packs have changed: release 0.9 (00000000) then, 1.0 ({fingerprint.PACKS[:8]}) now"
    )
    assert found["now"]["decision"] == "review"


def test_what_changed_without_effect_is_told_too(models):
    then, basis = decided(models)
    found = made_again(then, basis, {**NOW, "scikit_learn": "0.1"})
    assert found["same"] is True
    assert found["why"] == [f"scikit-learn has changed: 0.1 then, {fingerprint.SCIKIT_LEARN} now"]


def test_a_difference_that_nothing_explains_is_to_be_reported(models):
    then, basis = decided(models)
    found = made_again({**then, "score": 0.5}, basis)
    assert (found["same"], found["why"][-1][-9:]) == (False, "report it")


def test_what_the_packs_cannot_use_is_no_difference(models):
    then, basis = decided(models)
    found = made_again(then, basis, **{applicant.COLUMNS["savings"]: "much"})
    assert (found["same"], found["now"]) == (None, None)
    assert "ApplicantError" in found["why"][0]


def test_a_record_that_changed_since_is_told_by_column():
    then = applicant.used(record(4))
    assert replay.changed_record(then, then) == []
    (told,) = replay.changed_record(then, {**then, "housing": "own"})
    assert told.startswith("the applicant's record has changed: housing 'for free' then, 'own' now")


def test_without_distributions_of_their_own_those_of_the_model_are_used(models, caplog):
    with_the_model = json.loads(json.dumps(learnt("fraud")))
    assert decision.in_use(models).learnt("fraud") == with_the_model
    put_to_use(models, {"records": 0})
    assert decision.in_use(models).learnt("fraud") == {"records": 0}
    (models / "fraud-1.distributions.json").write_text("torn")
    assert decision.in_use(models).learnt("fraud") == with_the_model
    assert "fraud compares with what came with risk-1" in caplog.text


def test_there_is_no_decision_without_a_model(tmp_path):
    with pytest.raises(NoModelError, match="run the DAG train_risk_model once"):
        decision.in_use(tmp_path)


def test_a_version_of_the_same_name_with_another_content_is_not_taken(models):
    _, basis = decided(models)
    versions = {"risk": {**basis.versions["risk"], "sha256": "0" * 64}}
    with pytest.raises(ModelStoreError, match="found another risk-1"):
        decision.of(models, versions)


def test_a_record_is_kept_as_the_packs_read_it_and_no_further():
    kept = applicant.used({**record(4), "versions": {}})
    assert applicant.parse(kept) == person(4)
    assert not {"age_in_years", "foreign_worker", "personal_status_and_sex"} & kept.keys()
