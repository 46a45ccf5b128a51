import pytest
from pack_book import labelled, person, record, trained
from sklearn.metrics import roc_auc_score

from dags.packs import credit_score, training
from dags.packs.applicant import parse
from dags.packs.book import TrainingError
from dags.packs.holdout import held_out


def test_the_cross_validated_auc_is_what_this_book_gives():
    metrics = trained().info["metrics"]
    assert 0.75 <= metrics["auc"] <= 0.80
    assert metrics["brier"] < metrics["brier_baseline"]


def test_training_gives_the_same_model_every_time():
    again = training.train(labelled())
    assert again.info == trained().info
    who = [person(1), person(2)]
    assert credit_score.probabilities(again.model, who) == credit_score.probabilities(
        trained().model, who
    )


def test_those_held_out_rank_as_well_as_cross_validation_says():
    out = [(row, label) for n, row, label in labelled() if held_out(n)]
    people = [parse(row) for row, _ in out]
    scores = credit_score.probabilities(trained().model, people)
    auc = roc_auc_score([label == "bad" for _, label in out], scores)
    assert abs(auc - trained().info["metrics"]["auc"]) < 0.05
    # Probabilities can be taken at their word: as many default as are expected to, give or take.
    assert sum(scores) == pytest.approx(sum(label == "bad" for _, label in out), rel=0.15)


def test_who_is_held_out_teaches_nothing():
    turned = [
        (n, row, label if not held_out(n) else {"good": "bad", "bad": "good"}[label])
        for n, row, label in labelled()
    ]
    assert training.train(turned).info == trained().info
    assert trained().info["records"] == 705 == sum(not held_out(n) for n, _, _ in labelled())


def test_the_label_is_in_no_feature():
    names = trained().model["vectorize"].get_feature_names_out()
    assert not [name for name in names if "creditability" in name]
    # With the labels dealt out anew, nothing is left to be learnt.
    labels = [label for _, _, label in labelled()]
    moved = labels[371:] + labels[:371]
    dealt = [(n, row, label) for (n, row, _), label in zip(labelled(), moved, strict=True)]
    assert 0.4 < training.train(dealt).info["metrics"]["auc"] < 0.6


def test_a_book_that_cannot_be_learnt_from_is_refused():
    with pytest.raises(TrainingError, match="load the applicants first"):
        training.train([])
    with pytest.raises(TrainingError, match="applicant 1: expected the label 'good' or"):
        training.train([(1, record(1), "fair")])
    with pytest.raises(ValueError, match="expected no label"):
        training.train([(1, {**record(1), "creditability": "good"}, "good")])
