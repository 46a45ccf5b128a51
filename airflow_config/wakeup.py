"""What wakes the scheduler: PostgreSQL tells it that a task ended or that a run was created.

Triggers on Airflow's tables (`metadata_migrations`) send a notification when a transaction
commits, whoever commits: the API server, the triggerer, the command line. A scheduler hears it
within a millisecond; with many schedulers, each hears it. What is told while the connection is
away is lost, so whoever waits here must look by itself from time to time.
"""

from __future__ import annotations

import json
import logging
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import psycopg
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)

CHANNEL = "airlane_scheduler"

#: Seconds between attempts to connect.
_RETRY = 5


@dataclass(frozen=True)
class Change:
    """Something happened: a run was made or cleared, a task of it changed, a DAG was unpaused."""

    kind: Literal["run", "task", "dag"]
    dag_id: str
    run_id: str = ""


def parse(payload: str) -> Change | None:
    """Return what a notification says; None for one that this version does not know."""
    try:
        fields = json.loads(payload)
        if fields["kind"] not in ("run", "task", "dag"):
            return None
        return Change(fields["kind"], str(fields["dag_id"]), str(fields.get("run_id", "")))
    except (ValueError, KeyError, TypeError):
        return None


class WakeUp:
    """A connection of its own that listens.

    Parameters
    ----------
    connect
        Returns a connection to the metadata database that is nobody else's; a TypeError of it
        means that the driver cannot listen.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._new_connection = connect
        self._connection: psycopg.Connection[Any] | None = None
        self._next_try = 0.0
        #: Since when changes are heard; what happened before was told to nobody here.
        self.since = datetime.now(UTC)

    @property
    def listening(self) -> bool:
        """Whether changes are heard now; when not, the caller must look for them."""
        return self._connection is not None

    def wait(self, seconds: float) -> list[Change]:
        """Return what was told, as soon as there is something; nothing after `seconds`.

        Equal notifications come once. Never raises for a connection that is away: it is made
        anew, and meanwhile this sleeps.
        """
        if self._connection is None:
            self._connect()
        if self._connection is None:
            time.sleep(seconds)
            return []
        try:
            # What libpq has read already does not show on the socket.
            changes = _told(self._connection)
            if not changes and seconds > 0:
                # Not `select`, which raises for the 1,025th open file of a process.
                poll = select.poll()
                poll.register(self._connection, select.POLLIN)
                poll.poll(seconds * 1000)
                changes = _told(self._connection)
        except psycopg.Error as error:
            log.warning("The connection that wakes the scheduler broke: %s", error)
            self.close()
            return []
        return changes

    def close(self) -> None:
        """Close the connection; the next `wait` makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> None:
        if time.monotonic() < self._next_try:
            return
        self._next_try = time.monotonic() + _RETRY
        try:
            connection = self._new_connection()
            # What was told is heard only between transactions.
            connection.rollback()
            connection.autocommit = True
            connection.execute(f"LISTEN {CHANNEL}")
        except (psycopg.Error, SQLAlchemyError, TypeError) as error:
            log.warning("The scheduler is not woken by the database, it polls: %s", error)
            return
        self._connection = connection
        self.since = datetime.now(UTC)
        log.info("The database wakes the scheduler (channel %s)", CHANNEL)


def _told(connection: psycopg.Connection[Any]) -> list[Change]:
    payloads = {told.payload: None for told in connection.notifies(timeout=0)}
    return [change for payload in payloads if (change := parse(payload))]
