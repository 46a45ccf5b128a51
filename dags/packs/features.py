"""What the model looks at, and what it must not look at.

Every column of the table is either the source of a feature below or in `LEFT_OUT` with the
reason; a test holds that together. Fraud's distributions use the same features.
"""

from __future__ import annotations

import math

from dags.packs.applicant import Applicant

#: Column -> why it is no feature. NOT features: sex, marital status, nationality and age.
LEFT_OUT = {
    "personal_status_and_sex": "sex and marital status: one column carries both",
    "age_in_years": "age",
    "foreign_worker": "nationality",
    "number_of_people_being_liable_to_provide_maintenance_for": "tells of the family",
    "creditability": "the label: what is to be predicted",
}

#: Fields of `Applicant` taken as they are, each level a feature of its own.
CATEGORICAL = (
    "checking_account",
    "credit_history",
    "purpose",
    "savings",
    "employment",
    "other_debtors",
    "assets",
    "other_instalment_plans",
    "housing",
    "job",
    "telephone",
)

#: Fields of `Applicant` taken as numbers.
NUMERIC = (
    "duration_months",
    "credit_amount",
    "instalment_rate",
    "residence_since",
    "existing_credits",
)

#: Two levels of `job` differ in being resident, which would let nationality in again.
_FOLDED = {
    "unemployed/ unskilled - non-resident": "unskilled",
    "unskilled - resident": "unskilled",
}


def level(applicant: Applicant, field: str) -> str:
    """Return the level of a categorical field, without what it would say about nationality."""
    value: str = getattr(applicant, field)
    return _FOLDED.get(value, value)


def of(applicant: Applicant) -> dict[str, str | float]:
    """Return the model's features: name -> level or number.

    Amounts go in by their logarithm (doubling counts the same at 500 and at 5,000 DM); its square
    lets very small and very large credits both be riskier than those between.
    """
    features: dict[str, str | float] = {name: level(applicant, name) for name in CATEGORICAL}
    log_amount = math.log(applicant.credit_amount)
    features["duration_months"] = float(applicant.duration_months)
    features["credit_amount"] = log_amount
    features["credit_amount_squared"] = log_amount**2
    features["instalment"] = math.log(applicant.instalment)
    features["instalment_rate"] = float(applicant.instalment_rate)
    features["residence_since"] = float(applicant.residence_since)
    features["existing_credits"] = float(applicant.existing_credits)
    return features
