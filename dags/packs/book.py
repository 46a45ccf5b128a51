"""The book: past applicants that may be learnt from, with what became of their credits.

Applicants that `holdout.held_out` keeps back are dropped here, whoever calls, so no model, no
distribution and no threshold ever learns from them. Imports nothing that is slow to import.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dags.packs import holdout
from dags.packs.applicant import Applicant, parse

#: The label's two values.
GOOD, BAD = "good", "bad"

#: Credits of each label without which nothing can be learnt: one for each fold of a training.
FEWEST = 5


class TrainingError(ValueError):
    """The book cannot be learnt from; the message says what is missing."""


def read(
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
    if min(bad, len(examples) - bad) < FEWEST:
        raise TrainingError(
            f"expected at least {FEWEST} good and {FEWEST} bad credits to learn from, "
            f"found {len(examples) - bad} good and {bad} bad: load the applicants first"
        )
    return examples
