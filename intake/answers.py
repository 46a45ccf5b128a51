"""Answers for runs that failed and gave none: every event gets an answer.

A run that fails records `error` in its last step. Nobody answers when that step itself fails for
good (the database was away for longer than its retries, its worker was killed again and again), or
when a person marks the run as failed. So the listener asks Airflow, every `intake_sweep` seconds,
which runs failed, and records `error` for those whose event is not in the ledger. The relay makes
a dead letter of it as of any other, so it can be replayed.

The first decision stands, whoever comes second: a step that was still at work, another listener,
or the run itself, when a person clears it just before or after this. A run that is cleared after
its event was answered finds the answer in the ledger, skips everything and ends in success; the
event is tried again by a replay of its dead letter, under a new id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from intake import database, ledger
from intake.airflow_api import AirflowApi, RetryLaterError
from intake.backoff import is_told
from intake.events import RUN_ID_PREFIX, signed_up_at
from intake.settings import IntakeSettings, MissingSettingError

logger = logging.getLogger(__name__)

#: What the applicant's side is told.
REASON = "the run failed and no step recorded a decision: see its log in Airflow"
#: How far a listener looks back when it starts: it may have been paused, or the stack down.
LOOK_BACK = timedelta(days=30)
#: Each later sweep begins this long before the one that it follows: a run's end is a little older
#: than its commit, and the clocks of two hosts differ.
_OVERLAP = timedelta(minutes=2)


async def keep_answering(api: AirflowApi, settings: IntakeSettings) -> None:
    """Sweep until cancelled, whatever fails meanwhile.

    A sweep that fails is tried again from where it began, after the usual wait.
    """
    since = datetime.now(UTC) - LOOK_BACK
    engine: Engine | None = None
    failures = 0
    try:
        while True:
            begun = datetime.now(UTC)
            try:
                engine = engine or database.engine(settings.need("app_db_url"))
                await sweep(api, engine, since)
            except Exception as error:
                failures += 1
                if is_told(failures):
                    _log_failure(error, failures)
            else:
                since, failures = begun - _OVERLAP, 0
            await asyncio.sleep(settings.intake_sweep)
    finally:
        if engine:
            # What a thread still uses is closed when it is given back.
            engine.dispose()


async def sweep(api: AirflowApi, engine: Engine, since: datetime) -> int:
    """Answer for the runs that failed at `since` or later; return how many got their answer now.

    Raises
    ------
    RetryLaterError
        The API cannot say it now.
    SQLAlchemyError
        The database is away or refuses us.
    """
    answered = 0
    async for runs in api.failed_runs(since):
        answered += await asyncio.to_thread(_answer, engine, runs)
    return answered


def _answer(engine: Engine, runs: Sequence[Mapping[str, Any]]) -> int:
    """Record an error for each of these runs whose event is not decided."""
    errors = [error for run in runs if (error := _error(run))]
    decided = ledger.decided(engine, [error.event_id for error in errors])
    answered = 0
    for error in errors:
        if error.event_id in decided:
            continue
        try:
            new = ledger.record(engine, error)
        except (DataError, IntegrityError) as refusal:
            # Not to be written at all: it must not hold up the others.
            text = "run %s failed and its event cannot be answered: %s"
            logger.error(text, error.run_id, _said(refusal))
        else:
            answered += new
            if new:
                logger.warning("run %s failed without an answer: recorded error", error.run_id)
    return answered


def _error(run: Mapping[str, Any]) -> ledger.Decision | None:
    """Return the answer for a run that the listener made; None for any other."""
    event = (run.get("conf") or {}).get("event")
    if not isinstance(event, dict) or not {"event_id", "entity_id", "at"} <= event.keys():
        return None
    # A run that a person made of the same event may fail while the listener's goes on.
    if run["dag_run_id"] != f"{RUN_ID_PREFIX}{event['event_id']}":
        return None
    try:
        since = signed_up_at(event)
    except (TypeError, ValueError):
        return None
    return ledger.Decision(
        event_id=event["event_id"],
        entity_id=str(event["entity_id"]),
        decision="error",
        score=None,
        reasons=[REASON],
        model_version=None,
        signed_up_at=since,
        run_id=run["dag_run_id"],
        event=event,
    )


def _log_failure(error: Exception, failures: int) -> None:
    text = "looking for failed runs without an answer, failure %s: %s: %s"
    known = isinstance(error, RetryLaterError | SQLAlchemyError | MissingSettingError)
    trace = None if known else error
    logger.warning(text, failures, type(error).__name__, _said(error), exc_info=trace)


def _said(error: Exception) -> str:
    """Return the first line: a database's error goes on with statements and applicants' data."""
    return (str(error).splitlines() or [""])[0]
