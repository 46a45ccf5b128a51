"""Which applicants models may learn from, and which are kept for showing what they learnt.

The rule: an applicant is held out when the first 8 bytes of SHA-256 of
``airlane-holdout:<entity_id>``, read as a big-endian whole number and divided by 2^64, are below
0.30. It needs no list and no random state, gives the same answer on every machine and in every
version, and does not move anybody when the book grows. Of the 1,000 applicants it holds out 295.

Models learn from the others only (`training.train` sees to that); the demo's sign-ups come from
those held out.
"""

from __future__ import annotations

import hashlib

#: Share of the applicants that no model learns from.
SHARE = 0.30

#: Names this split. Another salt would be another split: every AUC so far would mean nothing.
SALT = "airlane-holdout"


def held_out(entity_id: int) -> bool:
    """Say whether models must not learn from this applicant."""
    digest = hashlib.sha256(f"{SALT}:{int(entity_id)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < SHARE
