"""The applicant as the packs see them: one typed, checked record.

The table's columns have long names and hold strings or whole numbers; `parse` turns such a row
into an `Applicant` or says everything that is wrong with it at once.

Four facts about a person stop here and reach no pack: sex and marital status (one column,
`personal_status_and_sex`), age and nationality (`foreign_worker`). `features.LEFT_OUT` says why.

The wording of the levels is that of the Statlog table. U. Groemping ("South German Credit Data:
Correcting a Widely Used Data Set", Beuth University Berlin, report 4/2019) shows that several
levels are worded wrongly there: in this book, for example, "no checking account" marks the best
payers. So packs compare levels by what the book teaches about them, never by what they say.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

#: The column that says how the credit ended. Known only about past applicants; no pack sees it.
LABEL = "creditability"

#: Field of `Applicant` -> column of the table.
COLUMNS = {
    "checking_account": "status_of_existing_checking_account",
    "duration_months": "duration_in_month",
    "credit_history": "credit_history",
    "purpose": "purpose",
    "credit_amount": "credit_amount",
    "savings": "savings_account_and_bonds",
    "employment": "present_employment_since",
    "instalment_rate": "installment_rate_in_percentage_of_disposable_income",
    "other_debtors": "other_debtors_or_guarantors",
    "residence_since": "present_residence_since",
    "assets": "property",
    "other_instalment_plans": "other_installment_plans",
    "housing": "housing",
    "existing_credits": "number_of_existing_credits_at_this_bank",
    "job": "job",
    "telephone": "telephone",
}

#: Field -> smallest and largest whole number that makes sense. Amounts in DM, as in the table.
RANGES = {
    "duration_months": (1, 360),
    "credit_amount": (1, 10_000_000),
    "instalment_rate": (1, 4),
    "residence_since": (1, 4),
    "existing_credits": (1, 99),
}

#: Field -> the levels that the table knows.
LEVELS = {
    "checking_account": (
        "no checking account",
        "... < 0 DM",
        "0 <= ... < 200 DM",
        "... >= 200 DM / salary assignments for at least 1 year",
    ),
    "credit_history": (
        "no credits taken/ all credits paid back duly",
        "all credits at this bank paid back duly",
        "existing credits paid back duly till now",
        "delay in paying off in the past",
        "critical account/ other credits existing (not at this bank)",
    ),
    "purpose": (
        "car (new)",
        "car (used)",
        "furniture/equipment",
        "radio/television",
        "domestic appliances",
        "repairs",
        "education",
        "vacation",
        "retraining",
        "business",
        "others",
    ),
    "savings": (
        "unknown/ no savings account",
        "... < 100 DM",
        "100 <= ... < 500 DM",
        "500 <= ... < 1000 DM",
        "... >= 1000 DM",
    ),
    "employment": (
        "unemployed",
        "... < 1 year",
        "1 <= ... < 4 years",
        "4 <= ... < 7 years",
        "... >= 7 years",
    ),
    "other_debtors": ("none", "co-applicant", "guarantor"),
    "assets": (
        "unknown / no property",
        "car or other, not in attribute Savings account/bonds",
        "building society savings agreement/ life insurance",
        "real estate",
    ),
    "other_instalment_plans": ("none", "bank", "stores"),
    "housing": ("own", "rent", "for free"),
    "job": (
        "unemployed/ unskilled - non-resident",
        "unskilled - resident",
        "skilled employee / official",
        "management/ self-employed/ highly qualified employee/ officer",
    ),
    "telephone": ("none", "yes, registered under the customers name"),
}


class ApplicantError(ValueError):
    """The record cannot be read as an applicant; the message lists every problem and its column."""


@dataclass(frozen=True, kw_only=True)
class Applicant:
    """One person asking for one credit. Fields are columns of the table, see `COLUMNS`.

    Whole numbers are in months (`duration_months`), DM (`credit_amount`), or small codes of the
    table (`instalment_rate`, `residence_since`); everything else is one of `LEVELS`.
    """

    checking_account: str
    duration_months: int
    credit_history: str
    purpose: str
    credit_amount: int
    savings: str
    employment: str
    instalment_rate: int
    other_debtors: str
    residence_since: int
    assets: str
    other_instalment_plans: str
    housing: str
    existing_credits: int
    job: str
    telephone: str

    @property
    def instalment(self) -> float:
        """DM to be paid back each month, without interest (the table holds no rate)."""
        return self.credit_amount / self.duration_months


def parse(record: Mapping[str, object]) -> Applicant:
    """Turn a row of the table into an `Applicant`.

    Parameters
    ----------
    record
        Column name -> string or whole number. Columns that packs don't use are ignored.

    Returns
    -------
    Applicant
        With every level known and every number in its range.

    Raises
    ------
    ApplicantError
        Naming every column that is missing or has a value that is not known, and when the record
        carries the label: whoever decides must not know the outcome.
    """
    problems = []
    if LABEL in record:
        problems.append(f"{LABEL}: expected no label, found one: leave it out of what packs get")
    values: dict[str, str | int] = {}
    for field, column in COLUMNS.items():
        if record.get(column) is None:
            problems.append(f"{column}: expected a value, found none")
            continue
        try:
            read = _level if field in LEVELS else _whole_number
            values[field] = read(field, record[column])
        except ValueError as error:
            problems.append(f"{column}: {error}")
    if problems:
        raise ApplicantError("applicant record cannot be read: " + "; ".join(problems))
    return Applicant(**values)  # type: ignore[arg-type]  # each field was read by its own kind


def used(record: Mapping[str, object]) -> dict[str, object]:
    """Return the columns of a record that packs read: all that a decision can depend on."""
    return {column: record[column] for column in COLUMNS.values()}


def _level(field: str, value: object) -> str:
    if value in LEVELS[field]:
        return str(value)
    near = difflib.get_close_matches(str(value), LEVELS[field], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"expected one of {list(LEVELS[field])}, found {value!r}{hint}")


def _whole_number(field: str, value: object) -> int:
    low, high = RANGES[field]
    expected = f"expected a whole number from {low} to {high}, found {value!r}"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(expected)
    try:
        number = int(value)
    except ValueError:
        raise ValueError(expected) from None
    if not low <= number <= high:
        raise ValueError(expected)
    return number
