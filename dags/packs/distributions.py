"""The distributions that fraud compares an applicant with: made, judged, described.

The training of the risk model learns the same from its book (`training.train`), so that there is
something to compare with from the first model on. Made here, they are versions of their own: newer
than the model, promoted and taken back without it.

Judged by records that they have not seen: how many of them a person would have to look at, and
how surprising they are (the cross-entropy in bits: it rises when a book has too few records).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypedDict

from dags.packs import fingerprint, fraud, strategy
from dags.packs.applicant import Applicant
from dags.packs.fraud import Distribution, FraudReference

#: Parts of the book that are judged by the rest, in turn.
FOLDS = 5


class Judged(TypedDict):
    """What one fold says: its records, their mean surprisal in bits, how many raise a doubt."""

    records: int
    bits: float
    doubted: int


@dataclass(frozen=True, kw_only=True)
class Made:
    """Distributions with their description, ready for `model_store.packed`."""

    reference: FraudReference
    info: dict[str, Any]


def judge(book: Sequence[Applicant], fold: int) -> Judged:
    """Compare every `FOLDS`-th record with distributions of the others.

    Parameters
    ----------
    book
        Past applicants that may be learnt from, in an order that stays the same.
    fold
        Which of them, from 0 to `FOLDS` - 1.
    """
    unseen = [one for number, one in enumerate(book) if number % FOLDS == fold]
    if not 0 <= fold < FOLDS or not unseen:
        raise ValueError(
            f"distributions: expected a fold from 0 to {FOLDS - 1} of at least {FOLDS} records, "
            f"found fold {fold} of {len(book)}"
        )
    reference = fraud.learn(one for number, one in enumerate(book) if number % FOLDS != fold)
    found = [fraud.compare(one, reference) for one in unseen]
    return Judged(
        records=len(found),
        bits=fmean(one["surprisal"] for one in found),
        doubted=sum(bool(strategy.fraud_doubts(one)) for one in found),
    )


def make(
    examples: Sequence[tuple[Applicant, bool]],
    counted: Iterable[Distribution],
    judged: Iterable[Judged],
) -> Made:
    """Put together what was counted and judged.

    Parameters
    ----------
    examples
        What `book.read` gave for all of it.
    counted
        `fraud.distribution` of each feature.
    judged
        `judge` of each fold.

    Returns
    -------
    Made
        Its ``info["metrics"]``: ``bits`` (mean surprisal of unseen records) and ``doubted``
        (share of them that a person would have to look at).

    Raises
    ------
    ValueError
        When the book has changed since it was counted or judged.
    """
    applicants = [applicant for applicant, _ in examples]
    folds = list(judged)
    if sum(fold["records"] for fold in folds) != len(applicants):
        raise ValueError(
            f"distributions: expected {len(applicants)} judged records, found "
            f"{sum(fold['records'] for fold in folds)}: the book changed meanwhile, start again"
        )
    reference = fraud.assemble(applicants, counted)
    records = len(applicants)
    metrics = {
        "bits": sum(fold["bits"] * fold["records"] for fold in folds) / records,
        "doubted": sum(fold["doubted"] for fold in folds) / records,
    }
    return Made(
        reference=reference,
        info={
            "metrics": {name: round(value, 4) for name, value in metrics.items()},
            "records": records,
            "features": list(fraud.FEATURES),
            "data_sha256": fingerprint.of_book(examples),
            "packs_sha256": fingerprint.PACKS,
        },
    )
