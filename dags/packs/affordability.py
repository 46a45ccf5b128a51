"""Whether the credit asked for sits heavily: instalment, length, other obligations.

The table holds no income. What it has is compared with what the book's other customers took on:
an instalment (amount / months, without interest), an amount and a length count as heavy from the
`HEAVY` quantile of the book on. Other instalment plans and rent add to the monthly burden.

The table's `instalment_rate` (1 to 4) would be the natural measure, but its published codings
contradict each other (Statlog: per cent of disposable income; Groemping 2019: 1 = 35 % and more,
4 = below 20 %), so no rule here leans on it; the model learns what it means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypedDict

from dags.packs.applicant import Applicant

#: Share of the book that stays below what we call heavy. Our judgement, not a law.
HEAVY = 0.90


class AffordabilityReference(TypedDict):
    """From where on the book calls something heavy: DM a month, DM, months."""

    instalment: float
    credit_amount: float
    duration_months: float


class Affordability(TypedDict):
    """What `assess` says: DM a month, and a sentence for each thing that makes it heavy."""

    instalment: float
    alerts: list[str]


def learn(applicants: Iterable[Applicant]) -> AffordabilityReference:
    """Learn from the book where heavy begins."""
    book = list(applicants)
    if not book:
        raise ValueError("affordability: expected past applicants to learn from, found none")
    return AffordabilityReference(
        instalment=_quantile([applicant.instalment for applicant in book]),
        credit_amount=_quantile([applicant.credit_amount for applicant in book]),
        duration_months=_quantile([applicant.duration_months for applicant in book]),
    )


def assess(applicant: Applicant, reference: AffordabilityReference) -> Affordability:
    """List what makes this credit heavy for this applicant."""
    alerts = []
    for name, value, unit in (
        ("instalment", applicant.instalment, "DM a month"),
        ("credit_amount", applicant.credit_amount, "DM"),
        ("duration_months", applicant.duration_months, "months"),
    ):
        limit = reference[name]  # type: ignore[literal-required]  # the three keys above
        if value > limit:
            alerts.append(
                f"{value:,.0f} {unit}: more than {HEAVY:.0%} of the book took on ({limit:,.0f})"
            )
    if applicant.other_instalment_plans != "none":
        alerts.append(f"already pays instalments elsewhere ({applicant.other_instalment_plans})")
    if applicant.housing == "rent":
        alerts.append("pays rent")
    return Affordability(instalment=round(applicant.instalment, 2), alerts=alerts)


def _quantile(values: Sequence[float]) -> float:
    """Return the smallest value that at least `HEAVY` of the values do not exceed."""
    return float(sorted(values)[math.ceil(HEAVY * len(values)) - 1])
