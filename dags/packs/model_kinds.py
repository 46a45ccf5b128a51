"""What is kept in versions: the risk model, and the distributions that fraud compares with.

A version is called by its kind and a number: `risk-7`, `fraud-3`.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_NAME = re.compile(r"([a-z]+)-([1-9][0-9]*)")


def _dump_joblib(model: object) -> bytes:
    import joblib  # noqa: PLC0415 - 0.4 s, and most readers want the description only

    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    return buffer.getvalue()


def _load_joblib(content: bytes) -> Any:
    import joblib  # noqa: PLC0415 - see _dump_joblib

    return joblib.load(io.BytesIO(content))


def _dump_json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, allow_nan=False).encode()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of versions.

    Parameters
    ----------
    name, words
        As versions begin; as people call it.
    suffix, pointer
        How the file of a version ends; the file that names the one in use.
    made_by
        The DAG that makes versions.
    metric, metric_words, higher_is_better, tolerance
        By which number a version is judged, what people call it, and how much worse than the one
        in use a new one may be: newer data is worth something.
    dump, load
        From an object to the file's content, and back.
    """

    name: str
    words: str
    suffix: str
    pointer: str
    made_by: str
    metric: str
    metric_words: str
    higher_is_better: bool
    tolerance: float
    dump: Callable[[object], bytes] = field(repr=False)
    load: Callable[[bytes], Any] = field(repr=False)

    def judged_by(self, info: Mapping[str, Any], what: str) -> float:
        """Return the number by which a version is judged, from its description."""
        try:
            return float(info["metrics"][self.metric])
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{what}: expected a number at ['metrics'][{self.metric!r}], found none"
            ) from None

    def is_worse(self, found: float, best: float) -> bool:
        """Say whether a version is worse than the one in use by more than the tolerance."""
        loss = best - found if self.higher_is_better else found - best
        return loss > self.tolerance


#: AUC: folds differ by more than 0.005 by chance (their standard deviation is near 0.04).
RISK = Kind(
    name="risk",
    words="risk model",
    suffix=".joblib",
    pointer="promoted.json",
    made_by="train_risk_model",
    metric="auc",
    metric_words="AUC",
    higher_is_better=True,
    tolerance=0.005,
    dump=_dump_joblib,
    load=_load_joblib,
)

#: Share of unseen records that a person would have to look at (`distributions.judge`; 0.128 with
#: the book as it is). Five samples of the book, drawn with replacement, gave 0.133 to 0.169; what
#: makes more work than that is a person's to promote.
FRAUD = Kind(
    name="fraud",
    words="fraud distributions",
    suffix=".distributions.json",
    pointer="promoted-fraud.json",
    made_by="fraud_distributions",
    metric="doubted",
    metric_words="share of doubted records",
    higher_is_better=False,
    tolerance=0.05,
    dump=_dump_json,
    load=json.loads,
)

KINDS = {kind.name: kind for kind in (RISK, FRAUD)}


def named(name: str) -> tuple[Kind, int]:
    """Return kind and number of a version's name; ValueError when it is none."""
    match = _NAME.fullmatch(name)
    if match is None or match.group(1) not in KINDS:
        raise ValueError(f"expected the name of a version like 'risk-7', found {name!r}")
    return KINDS[match.group(1)], int(match.group(2))
