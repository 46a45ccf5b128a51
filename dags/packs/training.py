"""Training: cross-validation, the final fit, and what the other packs learn from the book.

Applicants that `holdout.held_out` keeps back are dropped here, whoever calls, so no model, no
distribution and no threshold ever learns from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import sklearn
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from dags.packs import affordability, bank_data, credit_score, drift, fraud, holdout
from dags.packs.applicant import Applicant, parse

#: Cross-validation: parts of the book, and how often it is parted anew.
FOLDS, REPEATS = 5, 4

#: The label's two values.
GOOD, BAD = "good", "bad"


class TrainingError(ValueError):
    """The book cannot be learnt from; the message says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A fitted model with its description, ready for `model_store.packed`."""

    model: Pipeline
    info: dict[str, Any]


def book(
    labelled: Iterable[tuple[int, Mapping[str, object], str]],
) -> list[tuple[Applicant, bool]]:
    """Return those applicants that may be learnt from, with whether they defaulted.

    Parameters
    ----------
    labelled
        Entity id, record without the label, label ("good" or "bad").
    """
    examples = []
    for entity_id, record, label in labelled:
        if label not in (GOOD, BAD):
            raise TrainingError(
                f"applicant {entity_id}: expected the label {GOOD!r} or {BAD!r}, found {label!r}"
            )
        if not holdout.held_out(entity_id):
            examples.append((parse(record), label == BAD))
    bad = sum(defaulted for _, defaulted in examples)
    if min(bad, len(examples) - bad) < FOLDS:
        raise TrainingError(
            f"expected at least {FOLDS} good and {FOLDS} bad credits to learn from, "
            f"found {len(examples) - bad} good and {bad} bad: load the applicants first"
        )
    return examples


def train(labelled: Iterable[tuple[int, Mapping[str, object], str]]) -> Trained:
    """Cross-validate, fit on the whole book (without those held out) and describe the model.

    Parameters
    ----------
    labelled
        See `book`.

    Returns
    -------
    Trained
        Its ``info["metrics"]``: ``auc`` (mean over folds), ``auc_std`` (standard deviation over
        folds), ``brier`` (mean squared error of the probability) and ``brier_baseline`` (that of
        always saying the book's rate). ``info["reference"]``: what the other packs learnt.
    """
    examples = book(labelled)
    applicants = [applicant for applicant, _ in examples]
    defaulted = [bad for _, bad in examples]
    metrics, scores = _cross_validate(applicants, defaulted)
    return Trained(
        model=credit_score.fit(applicants, defaulted),
        info={
            "metrics": metrics,
            "records": len(examples),
            "defaults": sum(defaulted),
            "scikit_learn": sklearn.__version__,
            "reference": {
                "bank_data": bank_data.learn(examples),
                "affordability": affordability.learn(applicants),
                "fraud": fraud.learn(applicants),
                "score_edges": drift.edges(scores),
            },
        },
    )


def _cross_validate(
    applicants: list[Applicant], defaulted: list[bool]
) -> tuple[dict[str, float], list[float]]:
    """Return the metrics and each applicant's mean score by models that had not seen them."""
    aucs, briers = [], []
    scores = [0.0] * len(applicants)
    for seed in range(REPEATS):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        for learn, judge in folds.split(applicants, defaulted):
            model = credit_score.fit([applicants[i] for i in learn], [defaulted[i] for i in learn])
            found = credit_score.probabilities(model, [applicants[i] for i in judge])
            truth = [defaulted[i] for i in judge]
            aucs.append(float(roc_auc_score(truth, found)))
            briers.append(float(brier_score_loss(truth, found)))
            for i, score in zip(judge, found, strict=True):
                scores[i] += score / REPEATS
    rate = fmean(defaulted)
    metrics = {
        "auc": fmean(aucs),
        "auc_std": stdev(aucs),
        "brier": fmean(briers),
        "brier_baseline": rate * (1 - rate),
    }
    return {name: round(value, 4) for name, value in metrics.items()}, scores
