import math

import pytest
from pack_book import learnt, person

from dags.packs import bank_data


def test_two_applicants_with_other_accounts_are_judged_otherwise():
    overdrawn = bank_data.check(person(5), learnt("bank_data"))  # account below 0 DM
    none = bank_data.check(person(7), learnt("bank_data"))  # no account here, some savings
    assert overdrawn["evidence"] > 1 > -2 > none["evidence"]
    assert "checking account '... < 0 DM'" in overdrawn["alerts"][0]
    assert none["alerts"] == []


def test_the_weight_of_evidence_is_the_documented_one():
    good, bad = person(7), person(5)
    examples = [(good, False)] * 60 + [(bad, True)] * 20 + [(bad, False)] * 20
    reference = bank_data.learn(examples)
    assert reference["default_rate"] == 0.2
    seen = reference["levels"]["checking_account"]["... < 0 DM"]
    assert seen["records"] == 40
    assert seen["default_rate"] == pytest.approx((20 + 20 * 0.2) / (40 + 20))
    rate = seen["default_rate"]
    bits = math.log2(rate / (1 - rate) / (0.2 / 0.8))
    only = {**reference, "levels": {**reference["levels"], "savings": {}, "credit_history": {}}}
    assert bank_data.check(bad, only)["evidence"] == pytest.approx(bits, abs=0.001)


def test_a_level_never_seen_weighs_nothing():
    reference = bank_data.learn([(person(7), False), (person(7), True)])
    assert bank_data.check(person(5), reference) == {"evidence": 0.0, "alerts": []}


@pytest.mark.parametrize("outcomes", [[], [True], [False, False]])
def test_a_book_without_good_and_bad_teaches_nothing(outcomes):
    with pytest.raises(ValueError, match="expected"):
        bank_data.learn([(person(1), outcome) for outcome in outcomes])
