"""What fraud compares with: made in parts, judged by what it has not seen."""

import json

import pytest
from pack_book import labelled, learnt, trained

from dags.packs import book, distributions, fingerprint, fraud, strategy
from dags.packs.model_kinds import FRAUD

EXAMPLES = book.read(labelled())
PEOPLE = [applicant for applicant, _ in EXAMPLES]


def counted():
    return [fraud.distribution(PEOPLE, feature) for feature in fraud.FEATURES]


def judged():
    return [distributions.judge(PEOPLE, fold) for fold in range(distributions.FOLDS)]


@pytest.fixture(scope="module")
def made():
    # as they come from the tasks: by JSON, and in any order
    return distributions.make(EXAMPLES, json.loads(json.dumps(counted()[::-1])), judged())


def test_made_in_parts_they_are_what_the_training_learns(made):
    assert FRAUD.dump(made.reference) == FRAUD.dump(learnt("fraud"))
    assert made.info["data_sha256"] == trained().info["data_sha256"]


def test_every_record_is_judged_once_by_others(made):
    folds = judged()
    assert sum(fold["records"] for fold in folds) == len(PEOPLE) == made.info["records"]
    # seen records surprise less than unseen ones
    seen = [fraud.compare(one, learnt("fraud"))["surprisal"] for one in PEOPLE]
    assert sum(seen) / len(seen) < made.info["metrics"]["bits"]
    assert 0.1 < made.info["metrics"]["doubted"] < 0.2
    assert sum(fold["doubted"] for fold in folds) == round(
        made.info["metrics"]["doubted"] * len(PEOPLE)
    )


def test_a_doubt_is_what_asks_for_a_person():
    first = next(one for one in PEOPLE if fraud.compare(one, learnt("fraud"))["mismatches"])
    assert strategy.fraud_doubts(fraud.compare(first, learnt("fraud")))


def test_a_book_that_changes_meanwhile_is_noticed():
    with pytest.raises(ValueError, match=r"distributions of 704 records, found \[705\]: the book"):
        fraud.assemble(PEOPLE[1:], counted())
    with pytest.raises(ValueError, match="expected 704 judged records, found 705: the book"):
        distributions.make(EXAMPLES[1:], counted(), judged())


def test_a_part_that_is_missing_or_unknown_is_named():
    with pytest.raises(ValueError, match=r"none of \['purpose'\]"):
        fraud.assemble(PEOPLE, [one for one in counted() if one["feature"] != "purpose"])
    with pytest.raises(ValueError, match="found 'age'"):
        fraud.distribution(PEOPLE, "age")
    with pytest.raises(ValueError, match="a fold from 0 to 4"):
        distributions.judge(PEOPLE, 5)


def test_the_fingerprint_changes_with_code_and_data(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(name)
    before = fingerprint.of_sources(tmp_path, ["one", "two"])
    assert fingerprint.of_sources(tmp_path, ["two", "one"]) == before
    (tmp_path / "one.py").write_text("another")
    assert fingerprint.of_sources(tmp_path, ["one", "two"]) != before
    turned = [(EXAMPLES[0][0], not EXAMPLES[0][1]), *EXAMPLES[1:]]
    assert fingerprint.of_book(turned) != fingerprint.of_book(EXAMPLES)
