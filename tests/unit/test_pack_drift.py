import math

import pytest

from dags.packs import drift


def test_the_same_scores_have_not_drifted_and_others_have():
    expected = [n / 1000 for n in range(1000)]
    edges = drift.edges(expected)
    assert drift.index(edges, expected) < 0.001
    assert drift.index(edges, [score / 2 for score in expected]) > drift.MUCH


def test_the_index_is_the_documented_one():
    edges = drift.edges([n / 10 for n in range(10)])
    scores = [0.0] * 5  # all in the first of ten bins, half a score added to each
    first, rest = 5.5 / 10, 0.5 / 10
    by_hand = (first - 0.1) * math.log(first / 0.1) + 9 * (rest - 0.1) * math.log(rest / 0.1)
    assert drift.index(edges, scores) == pytest.approx(by_hand)


def test_a_rescoring_is_summed_up():
    scored = [{"score": n / 100, "model_version": "risk-2"} for n in range(100)]
    edges = drift.edges([row["score"] for row in scored])
    assert drift.summarize(scored, edges) == {
        "applicants": 100,
        "model_versions": {"risk-2": 100},
        "mean": 0.495,
        "median": 0.495,
        "drift": 0.0,
        "drift_means": "scores are where they were at training",
    }


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ValueError, match="found none"):
        drift.index([0.5], [])
    with pytest.raises(ValueError, match="expected at least 10"):
        drift.edges([0.1])
