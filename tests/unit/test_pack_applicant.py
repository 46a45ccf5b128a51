import dataclasses

import pytest
from pack_book import labelled, person, record

from dags.packs import applicant
from dags.packs.applicant import ApplicantError, parse


def test_the_whole_book_can_be_read():
    assert len([parse(row) for _, row, _ in labelled()]) == 1000


def test_two_applicants_give_two_records():
    one, other = person(1), person(2)
    assert (one.checking_account, one.duration_months, one.credit_amount) == ("... < 0 DM", 6, 1169)
    assert (other.checking_account, other.duration_months) == ("0 <= ... < 200 DM", 48)
    assert one.instalment == pytest.approx(1169 / 6)


def test_numbers_may_come_as_numbers_or_as_text():
    row = record(1)
    numbers = {name: int(value) if value.isdecimal() else value for name, value in row.items()}
    assert parse(numbers) == parse(row)


def test_sex_marital_status_nationality_and_age_do_not_get_in():
    fields = {field.name for field in dataclasses.fields(applicant.Applicant)}
    assert not {"sex", "age", "age_in_years", "foreign_worker", "personal_status_and_sex"} & fields
    changed = {
        "personal_status_and_sex": "female : divorced/separated/married",
        "age_in_years": 19,
        "foreign_worker": "no",
    }
    assert person(1, **changed) == person(1)


def test_every_problem_is_named_with_its_column():
    row = record(1)
    del row["purpose"]
    row.update(duration_in_month="six", credit_amount=-5, housing="owned", telephone=None)
    with pytest.raises(ApplicantError) as caught:
        parse(row)
    message = str(caught.value)
    assert "purpose: expected a value, found none" in message
    assert "telephone: expected a value, found none" in message
    assert "duration_in_month: expected a whole number from 1 to 360, found 'six'" in message
    assert "credit_amount: expected a whole number from 1 to 10000000, found -5" in message
    assert "housing: expected one of" in message
    assert "found 'owned'; did you mean 'own'?" in message


@pytest.mark.parametrize("value", [True, 1.5, [], "", "1e3"])
def test_only_whole_numbers_are_whole_numbers(value):
    with pytest.raises(ApplicantError, match="credit_amount: expected a whole number"):
        parse({**record(1), "credit_amount": value})


def test_a_record_with_the_label_is_refused():
    with pytest.raises(ApplicantError, match="creditability: expected no label"):
        parse({**record(1), "creditability": "good"})
