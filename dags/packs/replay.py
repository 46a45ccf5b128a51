"""Making a decision again from what was kept of it, and saying whether it comes out the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from dags.packs import decision, fingerprint
from dags.packs.applicant import ApplicantError, parse
from dags.packs.decision import Basis
from dags.packs.model_store import ModelStoreError

#: What of a decision must be the same.
COMPARED = ("decision", "score", "reasons", "model_version")


class Replayed(TypedDict):
    """What `again` says.

    `same` is None when it could not be made again; `why` says in words what differs, what has
    changed since, or why it could not; `now` is what it would be now.
    """

    same: bool | None
    why: list[str]
    now: dict[str, Any] | None


def impossible(why: str) -> Replayed:
    """Return that a decision cannot be made again."""
    return Replayed(same=None, why=[why], now=None)


def again(
    then: Mapping[str, Any],
    record: Mapping[str, Any],
    basis: Basis,
    *,
    made_with: Mapping[str, str],
    release: str,
) -> Replayed:
    """Make a decision again with the packs as they are now.

    Parameters
    ----------
    then
        The decision as it was recorded; needs `COMPARED`.
    record, basis
        What it was made from.
    made_with
        `release`, `packs_sha256` and `scikit_learn` of then.
    release
        The release that this is.
    """
    try:
        verdict = decision.decide(parse(record), basis)
    except (ApplicantError, ModelStoreError, ArithmeticError, LookupError, TypeError) as error:
        # a pack that has changed may not understand what an older one has left
        why = f"the packs cannot use what was kept: {type(error).__name__}: {error}"
        return Replayed(same=None, why=[why, *_changed(made_with, release)], now=None)
    now = {name: dict(verdict)[name] for name in COMPARED}
    differing = [
        f"{name}: {then[name]!r} then, {now[name]!r} now"
        for name in COMPARED
        if then[name] != now[name]
    ]
    changed = _changed(made_with, release)
    if differing and not changed:
        changed = ["record, versions, packs and scikit-learn are those of then: report it"]
    return Replayed(same=not differing, why=[*differing, *changed], now=now)


def _changed(made_with: Mapping[str, str], release: str) -> list[str]:
    """Say what has changed in that which decides."""
    found = []
    if made_with["packs_sha256"] != fingerprint.PACKS:
        found.append(
            f"the packs have changed: release {made_with['release']} "
            f"({made_with['packs_sha256'][:8]}) then, {release} ({fingerprint.PACKS[:8]}) now"
        )
    if made_with["scikit_learn"] != fingerprint.SCIKIT_LEARN:
        found.append(
            f"scikit-learn has changed: {made_with['scikit_learn']} then, "
            f"{fingerprint.SCIKIT_LEARN} now"
        )
    return found


def changed_record(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in which columns an applicant's record differs now; the decision is made from then's."""
    return [
        f"the applicant's record has changed: {column} {then[column]!r} then, "
        f"{now.get(column)!r} now; replayed with that of then"
        for column in then
        if then[column] != now.get(column)
    ]
