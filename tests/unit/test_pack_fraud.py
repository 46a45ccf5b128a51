import json
import math

import pytest
from pack_book import learnt, person

from dags.packs import fraud


def test_a_common_and_a_rare_record():
    reference = learnt("fraud")
    common, rare = (fraud.compare(person(n), reference) for n in (2, 4))
    assert rare["unusual"] > 0.8
    assert common["unusual"] < 0.2


def test_values_that_hardly_ever_go_together_are_named():
    # Applicant 4 lives for free and has a building society agreement, which nearly nobody does.
    found = fraud.compare(person(4), learnt("fraud"))["mismatches"]
    assert found == [
        "assets 'building society savings agreement/ life insurance' with housing 'for free': "
        "1 in the book where 18 were to be expected"
    ]
    assert fraud.compare(person(1), learnt("fraud"))["mismatches"] == []


def test_the_surprisal_is_the_documented_one():
    book = [person(1)] * 3
    reference = fraud.learn(book)
    # One value for each feature, seen in all 3 records: p = (3 + 1) / (3 + 1 + 1).
    assert fraud.compare(person(1), reference)["surprisal"] == pytest.approx(
        -math.log2(4 / 5), abs=1e-4
    )
    renting = person(1, housing="rent")
    features = len(reference["counts"])
    expected = (-math.log2(1 / 5) - (features - 1) * math.log2(4 / 5)) / features
    assert fraud.compare(renting, reference)["surprisal"] == pytest.approx(expected, abs=1e-4)
    assert fraud.compare(renting, reference)["unusual"] == 1.0


def test_the_reference_survives_json():
    reference = learnt("fraud")
    stored = json.loads(json.dumps(reference))
    assert fraud.compare(person(4), stored) == fraud.compare(person(4), reference)


def test_an_empty_book_teaches_nothing():
    with pytest.raises(ValueError, match="found none"):
        fraud.learn([])
