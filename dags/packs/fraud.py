"""How unusual the record is: rare values, and values that hardly ever go together.

Nobody in the book is marked as a fraud, so nothing here can learn what fraud looks like. It
measures what a forged or mistyped record has in common with other odd ones, and asks for a
person's look.

Surprisal
    of a value is ``-log2 p`` bits, with ``p = (count + 1) / (records + values + 1)``: counts with
    one added to each (Laplace's rule of succession; the last 1 is room for a value never seen).
    A record's surprisal is the mean over its features. C. E. Shannon, "A Mathematical Theory of
    Communication" (1948).
Mismatch
    two values that the book holds together far less often than if they were independent:
    ``log2((seen + 1/2) / (expected + 1/2)) <= MISMATCH_BITS``, among pairs expected at least
    `MIN_EXPECTED` times. This is pointwise mutual information (K. Church, P. Hanks,
    Computational Linguistics 16, 1990), its counts drawn to each other by one half.

Numbers are put into bins of half a doubling (``round(2 log2 x)``), so that bins need no tuning.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Iterable
from typing import TypedDict

from dags.packs import features
from dags.packs.applicant import Applicant

#: What is looked at, in this order.
FEATURES = (*features.CATEGORICAL, *features.NUMERIC)

#: Bits: the pair is at least four times rarer than chance would have it.
MISMATCH_BITS = -2.0

#: Records expected by chance before the absence of a pair means anything.
MIN_EXPECTED = 5.0

#: Tied to each other by arithmetic or by their own nature: rare together means nothing there.
_TIED = frozenset({"duration_months", "credit_amount", "credit_history", "existing_credits"})


class FraudReference(TypedDict):
    """What `learn` found in the book. Everything can be stored as JSON."""

    records: int
    counts: dict[str, dict[str, int]]  # feature -> value -> records with it
    pairs: dict[str, tuple[int, float]]  # mismatched pair, see `_pair` -> seen, expected
    surprisals: list[float]  # of the book's records, in rising order


class Distribution(TypedDict):
    """What `distribution` found about one feature; a part of a `FraudReference`."""

    feature: str
    records: int
    counts: dict[str, int]
    pairs: dict[str, tuple[int, float]]  # of this feature with those that come after it


class Fraud(TypedDict):
    """What `compare` says.

    `surprisal` in bits for each feature; `unusual` the share of the book that is less surprising,
    0 to 1; `mismatches` a sentence for each pair of values that hardly ever go together.
    """

    surprisal: float
    unusual: float
    mismatches: list[str]


def learn(applicants: Iterable[Applicant]) -> FraudReference:
    """Learn how common each value and each pair of values is."""
    book = list(applicants)
    return assemble(book, [distribution(book, feature) for feature in FEATURES])


def distribution(applicants: Iterable[Applicant], feature: str) -> Distribution:
    """Learn how common the values of one feature are, and with which others they hardly ever go.

    Parameters
    ----------
    applicants
        The book.
    feature
        One of `FEATURES`; its pairs are those with the features that come after it.
    """
    if feature not in FEATURES:
        raise ValueError(f"fraud: expected one of {', '.join(FEATURES)}, found {feature!r}")
    book = [_values(applicant) for applicant in applicants]
    if not book:
        raise ValueError("fraud: expected past applicants to learn from, found none")
    counts = dict(Counter(values[feature] for values in book))
    pairs = {}
    for other in FEATURES[FEATURES.index(feature) + 1 :]:
        if not {feature, other} <= _TIED:
            pairs.update(_mismatched_pairs(book, feature, other))
    return Distribution(feature=feature, records=len(book), counts=counts, pairs=pairs)


def assemble(
    applicants: Iterable[Applicant], distributions: Iterable[Distribution]
) -> FraudReference:
    """Put the distributions of all features together, and see how unusual each record is.

    Parameters
    ----------
    applicants
        The same book that the distributions are from.
    distributions
        One of each feature, in any order.

    Raises
    ------
    ValueError
        When one is missing, or is from a book of another size.
    """
    found = {part["feature"]: part for part in distributions}
    book = [_values(applicant) for applicant in applicants]
    if missing := [feature for feature in FEATURES if feature not in found]:
        raise ValueError(f"fraud: expected a distribution of each feature, none of {missing}")
    sizes = {part["records"] for part in found.values()}
    if sizes != {len(book)}:
        raise ValueError(
            f"fraud: expected distributions of {len(book)} records, found {sorted(sizes)}: the "
            "book changed meanwhile, start again"
        )
    parts = [found[feature] for feature in FEATURES]
    reference = FraudReference(
        records=len(book),
        counts={part["feature"]: part["counts"] for part in parts},
        pairs={pair: seen for part in parts for pair, seen in part["pairs"].items()},
        surprisals=[],
    )
    reference["surprisals"] = sorted(_surprisal(values, reference) for values in book)
    return reference


def compare(applicant: Applicant, reference: FraudReference) -> Fraud:
    """Compare a record with the book."""
    values = _values(applicant)
    surprisal = _surprisal(values, reference)
    below = bisect.bisect_left(reference["surprisals"], surprisal)
    mismatches = []
    for (one, first), (other, second) in itertools.combinations(values.items(), 2):
        found = reference["pairs"].get(_pair(one, first, other, second))
        if found is not None:
            seen, expected = found
            mismatches.append(
                f"{_words(one, applicant)} with {_words(other, applicant)}: "
                f"{seen} in the book where {expected:.0f} were to be expected"
            )
    return Fraud(
        surprisal=round(surprisal, 4),
        unusual=round(below / len(reference["surprisals"]), 4),
        mismatches=mismatches,
    )


def _values(applicant: Applicant) -> dict[str, str]:
    values = {name: features.level(applicant, name) for name in features.CATEGORICAL}
    for name in features.NUMERIC:
        values[name] = str(round(2 * math.log2(getattr(applicant, name))))
    return values


def _surprisal(values: dict[str, str], reference: FraudReference) -> float:
    bits = 0.0
    for name, counts in reference["counts"].items():
        probability = (counts.get(values[name], 0) + 1) / (reference["records"] + len(counts) + 1)
        bits -= math.log2(probability)
    return bits / len(reference["counts"])


def _mismatched_pairs(
    book: list[dict[str, str]], one: str, other: str
) -> dict[str, tuple[int, float]]:
    pairs = {}
    firsts, others = (Counter(values[feature] for values in book) for feature in (one, other))
    together = Counter((values[one], values[other]) for values in book)
    for first, second in itertools.product(firsts, others):
        expected = firsts[first] * others[second] / len(book)
        seen = together[first, second]
        bits = math.log2((seen + 0.5) / (expected + 0.5))
        if expected >= MIN_EXPECTED and bits <= MISMATCH_BITS:
            pairs[_pair(one, first, other, second)] = (seen, round(expected, 1))
    return pairs


def _pair(one: str, first: str, other: str, second: str) -> str:
    """Name a pair of values as one string, which JSON can have as a key."""
    return f"{one}={first} & {other}={second}"


def _words(name: str, applicant: Applicant) -> str:
    value = getattr(applicant, name)
    return f"{name.replace('_', ' ')} {value if isinstance(value, int) else repr(value)}"
