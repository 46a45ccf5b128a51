import pytest
from pack_book import learnt, person

from dags.packs import affordability


def test_a_heavy_and_a_light_credit():
    light = affordability.assess(person(1), learnt("affordability"))  # 1,169 DM, 6 months
    heavy = affordability.assess(person(4), learnt("affordability"))  # 7,882 DM, 42 months
    assert light == {"instalment": 194.83, "alerts": []}
    assert heavy["instalment"] == 187.67
    assert heavy["alerts"] == [
        "7,882 DM: more than 90% of the book took on (7,127)",
        "42 months: more than 90% of the book took on (36)",
    ]


def test_rent_and_other_plans_weigh_too():
    free = person(1, housing="own", other_installment_plans="none")
    bound = person(1, housing="rent", other_installment_plans="bank")
    reference = learnt("affordability")
    assert affordability.assess(free, reference)["alerts"] == []
    assert affordability.assess(bound, reference)["alerts"] == [
        "already pays instalments elsewhere (bank)",
        "pays rent",
    ]


def test_heavy_begins_at_the_quantile():
    book = [person(1, credit_amount=amount) for amount in range(100, 1100, 100)]
    assert affordability.learn(book)["credit_amount"] == 900


def test_an_empty_book_teaches_nothing():
    with pytest.raises(ValueError, match="found none"):
        affordability.learn([])
