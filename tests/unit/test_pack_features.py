import pytest
from pack_book import person, record

from dags.packs import features
from dags.packs.applicant import COLUMNS, LABEL


def test_every_column_is_a_feature_or_left_out_with_a_reason():
    used = {COLUMNS[name] for name in (*features.CATEGORICAL, *features.NUMERIC)}
    assert used | set(features.LEFT_OUT) == set(record(1)) | {LABEL}
    assert not used & set(features.LEFT_OUT)
    assert all(features.LEFT_OUT.values())


@pytest.mark.parametrize(
    "column", ["personal_status_and_sex", "age_in_years", "foreign_worker", "creditability"]
)
def test_what_must_not_be_looked_at_is_left_out(column):
    assert column in features.LEFT_OUT


def test_two_applicants_have_different_features():
    one, other = features.of(person(1)), features.of(person(2))
    assert one.keys() == other.keys()
    assert one["duration_months"] == 6
    assert other["duration_months"] == 48


def test_the_job_does_not_tell_of_residence():
    resident = person(1, job="unskilled - resident")
    other = person(1, job="unemployed/ unskilled - non-resident")
    assert features.of(resident) == features.of(other)
