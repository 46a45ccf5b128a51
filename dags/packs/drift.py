"""How far scores have moved from those that the model gave when it was trained.

Population stability index: ``sum over bins of (a - e) ln(a / e)``, with the share ``e`` of the
scores expected in a bin and the share ``a`` found there. Bins are the tenths of the expected
scores. Source: N. Siddiqi, "Credit Risk Scorecards" (2006), with its rule of thumb: below 0.10
nothing to speak of, above 0.25 a shift that calls for a look at the model.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

#: Number of bins, each holding the same share of the expected scores.
BINS = 10

#: Index from which on scores have drifted somewhat, and from which on somebody should look.
SOME, MUCH = 0.10, 0.25


def edges(expected: Sequence[float]) -> list[float]:
    """Return the inner edges of the bins, for `index`."""
    if len(expected) < BINS:
        raise ValueError(f"drift: expected at least {BINS} scores, found {len(expected)}")
    ordered = sorted(expected)
    return [ordered[len(ordered) * number // BINS] for number in range(1, BINS)]


def index(inner_edges: Sequence[float], scores: Sequence[float]) -> float:
    """Return the population stability index of scores against the expected ones.

    Half a score is added to every bin: an empty one would make the index infinite.
    """
    if not scores:
        raise ValueError("drift: expected scores to compare, found none")
    counts = [0.5] * (len(inner_edges) + 1)
    for score in scores:
        counts[bisect.bisect_right(inner_edges, score)] += 1
    expected = 1 / len(counts)
    total = sum(counts)
    return sum((count / total - expected) * math.log(count / total / expected) for count in counts)


def words(psi: float) -> str:
    """Say in words what an index means."""
    if psi < SOME:
        return "scores are where they were at training"
    return "scores have moved somewhat" if psi < MUCH else "scores have moved: look at the model"


def summarize(
    scored: Sequence[Mapping[str, Any]], edges_at_training: Sequence[float]
) -> dict[str, Any]:
    """Sum up a rescoring.

    Parameters
    ----------
    scored
        Each with ``score`` and ``model_version``.
    edges_at_training
        What `edges` returned for the scores expected.
    """
    scores = sorted(row["score"] for row in scored)
    psi = index(edges_at_training, scores)
    return {
        "applicants": len(scores),
        "model_versions": dict(Counter(row["model_version"] for row in scored)),
        "mean": round(fmean(scores), 4),
        "median": round(median(scores), 4),
        "drift": round(psi, 4),
        "drift_means": words(psi),
    }
