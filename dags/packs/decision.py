"""One decision from beginning to end, and exactly what it is made with.

In the DAG `onboarding` each pack is a task of its own. All of them must look at the applicant with
the same versions, also when another one is promoted in the middle of a run: the first step notes
them (`Versions`), and the others use what it noted. So a decision can be made again later.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dags.packs import affordability, bank_data, fraud, model_store, strategy
from dags.packs.applicant import Applicant
from dags.packs.model_kinds import FRAUD, RISK
from dags.packs.model_store import ModelStoreError, NoModelError, Version
from dags.packs.strategy import Verdict

log = logging.getLogger(__name__)


#: Kind -> `name` and `sha256` of the version to decide with (a record that was made anew may have
#: the name again); fraud is missing where the model's own distributions are used.
Versions = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Basis:
    """The versions that a decision is made with.

    Parameters
    ----------
    model
        The risk model, with what the packs learnt when it was trained.
    distributions
        What fraud compares with; None: what it learnt when the model was trained.
    """

    model: Version
    distributions: Version | None

    @property
    def versions(self) -> Versions:
        """Return which these are, as JSON can hold it."""
        used = [self.model, self.distributions] if self.distributions else [self.model]
        return {one.kind.name: {"name": one.name, "sha256": one.info["sha256"]} for one in used}

    def learnt(self, pack: str) -> Any:
        """Return what a pack learnt from the book."""
        if pack == "fraud" and self.distributions is not None:
            return model_store.load(self.distributions)
        return self.model.info["reference"][pack]


def in_use(models: Path) -> Basis:
    """Return the versions in use in a folder of the model store.

    Distributions that are missing or damaged stop no decision: the model's own are there.

    Raises
    ------
    dags.packs.model_store.NoModelError
        When no risk model has been promoted yet.
    """
    model = model_store.promoted(models)
    try:
        distributions = model_store.promoted(models, FRAUD)
        model_store.load(distributions)
    except NoModelError:
        return Basis(model=model, distributions=None)
    except ModelStoreError as error:
        log.warning("fraud compares with what came with %s: %s", model.name, error)
        return Basis(model=model, distributions=None)
    return Basis(model=model, distributions=distributions)


def of(models: Path, versions: Versions) -> Basis:
    """Return the noted versions from a folder of the model store.

    Raises
    ------
    dags.packs.model_store.ModelStoreError
        When the folder has one of them not, or another one of its name.
    """
    found = {}
    for kind, wanted in versions.items():
        version = model_store.read(models, wanted["name"])
        if version.info["sha256"] != wanted["sha256"]:
            raise ModelStoreError(
                f"{version.path}: expected SHA-256 {wanted['sha256']}, found another "
                f"{version.name}, {version.info['sha256']}"
            )
        found[kind] = version
    return Basis(model=found[RISK.name], distributions=found.get(FRAUD.name))


def decide(applicant: Applicant, basis: Basis) -> Verdict:
    """Let every pack look at an applicant, and weigh what they found."""
    from dags.packs import credit_score  # noqa: PLC0415 - scikit-learn: 2 s

    return strategy.decide(
        score=credit_score.score_with(basis.model, applicant),
        bank_data=bank_data.check(applicant, basis.learnt("bank_data")),
        affordability=affordability.assess(applicant, basis.learnt("affordability")),
        fraud=fraud.compare(applicant, basis.learnt("fraud")),
    )
