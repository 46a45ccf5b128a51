"""The `app` database that a test gets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AppDatabase:
    """A migrated `app` database of one test; addresses by login."""

    owner: str
    worker: str
    intake: str
    relay: str
