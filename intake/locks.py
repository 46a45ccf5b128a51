"""The advisory locks of the database `app`: whoever holds one makes others of the same wait."""

from __future__ import annotations

from enum import IntEnum, unique

from sqlalchemy import Connection, text


@unique
class Lock(IntEnum):
    """What is done by one at a time; the numbers are the database's."""

    MIGRATE = 7_002_001
    #: Giving decisions their places in the stream.
    ASSIGN = 7_002_002
    #: Storing versions of models, and putting them to use: nothing that a decision waits for.
    REGISTRY = 7_002_003


def take(connection: Connection, lock: Lock) -> None:
    """Wait for a lock and hold it to the end of the transaction."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": int(lock)})
