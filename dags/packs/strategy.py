"""From score and findings to a decision with its reasons.

What a wrong decision costs comes with the data: in the Statlog set, calling a bad customer good
costs 5, calling a good one bad costs 1. With probability of default p, approving costs ``5 p`` on
average and declining ``1 - p``. A person's look costs `REVIEW_COST`, in the same unit; it is
worth it where both decisions would cost more. This is the reject option of C. K. Chow, "On Optimum
Recognition Error and Reject Tradeoff" (IEEE Trans. Inf. Theory 16, 1970).

So: approve up to ``REVIEW_COST / 5``, decline from ``1 - REVIEW_COST`` on, look in between.
Findings of the other packs never turn a decline into something better; they can stop an approval
and ask for a person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:  # deciding needs the findings' shapes only, not scikit-learn
    from dags.packs.affordability import Affordability
    from dags.packs.bank_data import BankData
    from dags.packs.credit_score import Score
    from dags.packs.fraud import Fraud

#: Cost of approving somebody who defaults; the unit is the cost of declining a good customer.
BAD_APPROVED_COST = 5.0
#: Cost of declining somebody who would have paid.
GOOD_DECLINED_COST = 1.0
#: Cost of a person's look, in the same unit. Our judgement: the data set has none.
REVIEW_COST = 0.7

#: Probability of default up to which a credit is approved (0.14).
APPROVE_UP_TO = REVIEW_COST / BAD_APPROVED_COST
#: Probability of default from which on it is declined (0.30).
DECLINE_FROM = 1 - REVIEW_COST / GOOD_DECLINED_COST

#: A record more unusual than this share of the book gets a person's look.
UNUSUAL = 0.98
#: So many things that weigh on the monthly budget get a person's look.
HEAVY_ALERTS = 3
#: So many accounts or past credits that stand out get a person's look.
BANK_ALERTS = 2


class Verdict(TypedDict):
    """What the applicant is told, and why. `score` is the probability of default, 0 to 1."""

    decision: Literal["approve", "decline", "review"]
    score: float
    reasons: list[str]
    model_version: str


def decide(
    *, score: Score, bank_data: BankData, affordability: Affordability, fraud: Fraud
) -> Verdict:
    """Decide about a sign-up.

    Parameters
    ----------
    score, bank_data, affordability, fraud
        What the packs of the same names found.

    Returns
    -------
    Verdict
        With every reason in words, the deciding one first.
    """
    probability = score["score"]
    share = f"probability of default {probability:.0%}"
    details = bank_data["alerts"] + affordability["alerts"] + fraud["mismatches"]
    raised = [f"raised most by {' and '.join(score['raised_by'])}"] if score["raised_by"] else []
    decision: Literal["approve", "decline", "review"]
    if probability >= DECLINE_FROM:
        decision = "decline"
        reasons = [f"{share}: declined from {DECLINE_FROM:.0%} on", *raised, *details]
    elif probability > APPROVE_UP_TO:
        decision = "review"
        between = f"between {APPROVE_UP_TO:.0%} and {DECLINE_FROM:.0%} a person decides"
        reasons = [f"{share}: {between}", *raised, *details]
    elif doubts := _doubts(bank_data, affordability, fraud):
        decision = "review"
        reasons = [*doubts, f"{share}: would be approved otherwise", *details]
    else:
        decision = "approve"
        reasons = [f"{share}: approved up to {APPROVE_UP_TO:.0%}", *details]
    return Verdict(
        decision=decision,
        score=probability,
        reasons=reasons,
        model_version=score["model_version"],
    )


def fraud_doubts(fraud: Fraud) -> list[str]:
    """Say why fraud alone asks for a person's look; nothing when it does not."""
    doubts = []
    if fraud["unusual"] >= UNUSUAL:
        doubts.append(f"record more unusual than {fraud['unusual']:.1%} of the book")
    if fraud["mismatches"]:
        doubts.append("values that hardly ever go together")
    return doubts


def _doubts(bank_data: BankData, affordability: Affordability, fraud: Fraud) -> list[str]:
    """Say why an applicant with a good score should still be looked at."""
    doubts = fraud_doubts(fraud)
    if len(affordability["alerts"]) >= HEAVY_ALERTS:
        doubts.append("several things weigh on the monthly budget")
    if len(bank_data["alerts"]) >= BANK_ALERTS:
        doubts.append("accounts and past credits stand out")
    return doubts
