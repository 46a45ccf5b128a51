"""Hashes that say whether two decisions, or two models, come from the same code and data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from dags.packs.applicant import Applicant

#: The modules that a decision depends on, besides the versions that it names.
DECIDING = (
    "affordability",
    "applicant",
    "bank_data",
    "credit_score",
    "decision",
    "features",
    "fraud",
    "strategy",
)


def of_sources(folder: Path, modules: Iterable[str] = DECIDING) -> str:
    """Return the SHA-256 of modules' names and texts, in hexadecimal."""
    found = hashlib.sha256()
    for name in sorted(modules):
        found.update(f"{name}\0".encode())
        found.update((folder / f"{name}.py").read_bytes())
    return found.hexdigest()


def of_book(examples: Iterable[tuple[Applicant, bool]]) -> str:
    """Return the SHA-256 of what was learnt from: records as packs read them, and their labels."""
    found = hashlib.sha256()
    for applicant, defaulted in examples:
        line = json.dumps([asdict(applicant), defaulted], sort_keys=True)
        found.update(f"{line}\n".encode())
    return found.hexdigest()


#: Of the packs that decide. Read when this is imported, as they are: what is changed on disk under
#: a worker that has them imported is not what it decides with.
PACKS = of_sources(Path(__file__).parent)
#: What scores are computed with; asked once for all tasks of a worker too.
SCIKIT_LEARN = version("scikit-learn")
