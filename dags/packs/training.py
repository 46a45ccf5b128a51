"""Training: cross-validation, the final fit, and what the other packs learn from the book.

Who is held out teaches nothing: `book.read` drops them, whoever calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import sklearn
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from dags.packs import (
    affordability,
    bank_data,
    book,
    credit_score,
    drift,
    features,
    fingerprint,
    fraud,
)
from dags.packs.applicant import Applicant

#: Cross-validation: parts of the book, and how often it is parted anew.
FOLDS, REPEATS = book.FEWEST, 4


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A fitted model with its description, ready for `model_store.packed`."""

    model: Pipeline
    info: dict[str, Any]


def train(labelled: Iterable[tuple[int, Mapping[str, object], str]]) -> Trained:
    """Cross-validate, fit on the whole book (without those held out) and describe the model.

    Parameters
    ----------
    labelled
        See `book.read`.

    Returns
    -------
    Trained
        Its ``info["metrics"]``: ``auc`` (mean over folds), ``auc_std`` (standard deviation over
        folds), ``ks`` (Kolmogorov-Smirnov: the most by which the share of bad credits above a
        score exceeds that of good ones; mean over folds), ``brier`` (mean squared error of the
        probability) and ``brier_baseline`` (that of always saying the book's rate).
        ``info["reference"]``: what the other packs learnt. ``info["data_sha256"]`` and
        ``info["packs_sha256"]``: of what it was trained from, see `fingerprint`.
    """
    examples = book.read(labelled)
    applicants = [applicant for applicant, _ in examples]
    defaulted = [bad for _, bad in examples]
    metrics, scores = _cross_validate(applicants, defaulted)
    return Trained(
        model=credit_score.fit(applicants, defaulted),
        info={
            "metrics": metrics,
            "records": len(examples),
            "defaults": sum(defaulted),
            "features": list(features.of(applicants[0])),
            "data_sha256": fingerprint.of_book(examples),
            "packs_sha256": fingerprint.PACKS,
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
    aucs, briers, distances = [], [], []
    scores = [0.0] * len(applicants)
    for seed in range(REPEATS):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        for learn, judge in folds.split(applicants, defaulted):
            model = credit_score.fit([applicants[i] for i in learn], [defaulted[i] for i in learn])
            found = credit_score.probabilities(model, [applicants[i] for i in judge])
            truth = [defaulted[i] for i in judge]
            aucs.append(float(roc_auc_score(truth, found)))
            briers.append(float(brier_score_loss(truth, found)))
            false_alarms, hits, _ = roc_curve(truth, found)
            distances.append(float(max(hits - false_alarms)))
            for i, score in zip(judge, found, strict=True):
                scores[i] += score / REPEATS
    rate = fmean(defaulted)
    metrics = {
        "auc": fmean(aucs),
        "auc_std": stdev(aucs),
        "ks": fmean(distances),
        "brier": fmean(briers),
        "brier_baseline": rate * (1 - rate),
    }
    return {name: round(value, 4) for name, value in metrics.items()}, scores
