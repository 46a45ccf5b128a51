"""What the applicant's accounts and past credits say, measured by what became of others.

For each level (say, checking account "... < 0 DM") the weight of evidence is
``log2(odds of default with this level / odds of default in the book)``: bits for (+) or against
(-) default. Weights add up over fields. Source: I. J. Good, "Probability and the Weighing of
Evidence" (1950); in credit scoring N. Siddiqi, "Credit Risk Scorecards" (2006), there with the
sign turned and natural logarithms.

A rate seen in few records is drawn to the book's rate by `PRIOR_RECORDS` imagined records (the
m-estimate; B. Cestnik, ECAI 1990), so that a level seen twice cannot shout.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import TypedDict

from dags.packs.applicant import Applicant

#: Fields that tell of accounts and past credits.
FIELDS = ("checking_account", "savings", "credit_history")

#: Imagined records with the book's rate, added to each level.
PRIOR_RECORDS = 20

#: Bits from which one field alone is worth a word: the odds of default are 1.5 times the book's.
ALERT_BITS = math.log2(1.5)


class Seen(TypedDict):
    """What became of the earlier applicants with one level."""

    records: int
    default_rate: float


class BankReference(TypedDict):
    """What `learn` found in the book."""

    default_rate: float
    levels: dict[str, dict[str, Seen]]


class BankData(TypedDict):
    """What `check` says: bits towards default, and a sentence for each field that stands out."""

    evidence: float
    alerts: list[str]


def learn(examples: Iterable[tuple[Applicant, bool]]) -> BankReference:
    """Count how often earlier applicants with each level defaulted.

    Parameters
    ----------
    examples
        Applicants that may be learnt from, with whether they defaulted.
    """
    book = list(examples)
    if not book:
        raise ValueError("bank data: expected past applicants to learn from, found none")
    rate = sum(defaulted for _, defaulted in book) / len(book)
    if rate in (0.0, 1.0):
        raise ValueError(
            f"bank data: expected good and bad credits, found a default rate of {rate}"
        )
    levels: dict[str, dict[str, Seen]] = {}
    for field in FIELDS:
        records = Counter(getattr(applicant, field) for applicant, _ in book)
        bad = Counter(getattr(applicant, field) for applicant, defaulted in book if defaulted)
        levels[field] = {
            level: Seen(
                records=count,
                default_rate=(bad[level] + PRIOR_RECORDS * rate) / (count + PRIOR_RECORDS),
            )
            for level, count in sorted(records.items())
        }
    return BankReference(default_rate=rate, levels=levels)


def check(applicant: Applicant, reference: BankReference) -> BankData:
    """Weigh accounts and past credits against the book.

    A level that the book has never seen weighs nothing; fraud's measure of rarity catches it.
    """
    overall = reference["default_rate"]
    evidence, alerts = 0.0, []
    for field in FIELDS:
        level = getattr(applicant, field)
        seen = reference["levels"][field].get(level)
        if seen is None:
            continue
        bits = math.log2(_odds(seen["default_rate"]) / _odds(overall))
        evidence += bits
        if bits >= ALERT_BITS:
            alerts.append(
                f"{field.replace('_', ' ')} '{level}': about {seen['default_rate']:.0%} of "
                f"earlier applicants like this defaulted, {overall:.0%} of all"
            )
    return BankData(evidence=round(evidence, 3), alerts=alerts)


def _odds(probability: float) -> float:
    return probability / (1 - probability)
