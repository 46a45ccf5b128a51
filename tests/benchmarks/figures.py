"""Percentiles and what is said of a list of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return a percentile, interpolated between the two nearest samples."""
    if not samples:
        raise ValueError("expected samples, found none")
    ordered = sorted(samples)
    place = (len(ordered) - 1) * percent / 100
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(samples: Sequence[float], digits: int = 4) -> dict[str, float | int | None]:
    """Return how many there are, the median, the 95th percentile and the largest.

    What is no number, as a time that the database does not have, is not counted; without any
    sample the figures are None, which JSON can say.
    """
    samples = [sample for sample in samples if math.isfinite(sample)]
    if not samples:
        return {"n": 0, "p50": None, "p95": None, "max": None}
    return {
        "n": len(samples),
        "p50": round(percentile(samples, 50), digits),
        "p95": round(percentile(samples, 95), digits),
        "max": round(max(samples), digits),
    }


def ratio(
    stock: Sequence[float], airlane: Sequence[float], *, higher_is_better: bool
) -> float | None:
    """Return how many times better airlane's median is than stock's; above 1 is better.

    None when the worse one is 0, for which there is no such number.
    """
    a, b = percentile(stock, 50), percentile(airlane, 50)
    better, worse = (b, a) if higher_is_better else (a, b)
    return round(better / worse, 2) if worse > 0 else None
