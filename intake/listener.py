"""The loop that turns sign-ups into DagRuns: read, create, acknowledge.

States of an entry of the stream `signups`:

    new ------> pending   read by a consumer
    pending --> done      its run was created, or is there already: acknowledged
    pending --> buried    cannot become a run, or conflicts: dead letter + acknowledgement, as one
    pending --> pending   API away, 5xx, login or DAG not in order: wait and ask again
    pending --> pending   its reader died: idle for `claim_after`, then another reader claims it

Nothing is acknowledged before its DagRun exists, and creating one twice is harmless (the run id
comes from the event id; the second answer is 409), so at-least-once reading is exactly one run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.exceptions import RedisError

from intake.airflow_api import AirflowApi, Outcome, RefusedError, RetryLaterError
from intake.backoff import SharedBackoff, delay, is_told
from intake.events import InvalidEventError, SignupEvent, parse, received_at
from intake.streams import Entry, SignupReader

logger = logging.getLogger(__name__)

#: Why a life ended: its DAG is paused.
PAUSED = "paused"

#: Milliseconds that one read blocks. It returns at once when an event comes; this only bounds how
#: long a stop takes.
_BLOCK_MS = 1000
#: Seconds between looks at the number of active runs while it is at its limit.
_GATE_CHECK = 0.5
#: Entries held per request allowed at the same time: those beyond are waiting to ask again, so a
#: few that keep failing do not take the places of others.
_HELD_PER_REQUEST = 4
#: Seconds that what is in flight gets to finish after a stop; then it is let go, still pending.
_FINISH = 5.0
#: Seconds for letting go, when the process is about to end anyway.
_RELEASE = 2.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of the loop; `IntakeSettings` says what each means."""

    requests: int = 16
    active_runs: int = 200
    claim_after: float = 20
    pause_check: float = 3
    #: Seconds after which the loop ends by itself.
    lifetime: float = 3600


class Intake:
    """One life of the listener.

    Parameters
    ----------
    reader
        Our consumer of the group.
    api
        Client of the API that creates runs.
    listener_dag
        The DAG whose pause stops the intake.
    """

    def __init__(
        self, reader: SignupReader, api: AirflowApi, listener_dag: str, limits: Limits
    ) -> None:
        self._reader = reader
        self._api = api
        self._listener_dag = listener_dag
        self._limits = limits
        self._held: dict[bytes, asyncio.Task[None]] = {}
        self._requests = asyncio.Semaphore(limits.requests)
        self._backoff = SharedBackoff()
        self._stop = asyncio.Event()
        self._why = ""
        #: Upper estimate: what the API last said plus what we created since.
        self._active = limits.active_runs
        self.created = 0

    def stop(self, why: str) -> None:
        """Read no more, finish what is in flight, end."""
        if not self._stop.is_set():
            self._why = why
            self._stop.set()

    async def run(self) -> str:
        """Work until stopped, paused or at the end of the lifetime; return which.

        Servers that are away are waited for; only a cancellation ends this early, and then what
        was in flight stays pending, free to be claimed by the next reader.
        """
        helpers = [
            asyncio.create_task(self._watch_pause()),
            asyncio.create_task(self._show_life()),
            asyncio.create_task(self._end_lifetime()),
        ]
        try:
            await self._read_all()
            if self._held:
                await asyncio.wait(self._held.values(), timeout=_FINISH)
        finally:
            unfinished = list(self._held)
            tasks = [*helpers, *self._held.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._let_go(unfinished)
        return self._why

    async def _read_all(self) -> None:
        failures = 0
        prepared = False
        claimed_at = 0.0
        while not self._stop.is_set():
            _heed_cancellation()
            try:
                if not prepared:
                    await self._reader.ensure_group()
                    await self._reader.retire_dead()
                    prepared = True
                room = await self._room()
                if room <= 0:
                    continue
                entries: list[Entry] = []
                if time.monotonic() - claimed_at > self._limits.claim_after / 4:
                    entries = await self._reader.claim(room)
                    # What could not be taken now, for want of room, is asked for again at once.
                    if len(entries) < room:
                        claimed_at = time.monotonic()
                if not entries:
                    entries = await self._reader.read(room, _BLOCK_MS)
                for entry in entries:
                    self._take(entry)
                failures = 0
            except (RedisError, OSError, RetryLaterError) as error:
                failures += 1
                prepared = False
                if is_told(failures):
                    logger.warning("reading events: %s: %s", type(error).__name__, error)
                await self._pause_for(delay(failures))

    async def _room(self) -> int:
        """Return how many entries may be taken now, after waiting for a place."""
        free = self._limits.requests * _HELD_PER_REQUEST - len(self._held)
        if free <= 0:
            await asyncio.wait(self._held.values(), timeout=1, return_when=asyncio.FIRST_COMPLETED)
            return 0
        room = self._limits.active_runs - self._active - len(self._held)
        if room <= 0:
            created = self.created
            # A run that was created while the API counted may be in its answer or not.
            self._active = await self._api.active_runs() + self.created - created
            room = self._limits.active_runs - self._active - len(self._held)
            if room <= 0:
                await self._pause_for(_GATE_CHECK)
        return min(free, room)

    def _take(self, entry: Entry) -> None:
        # Claimed back from ourselves when a sign of life came late: it is in work already.
        if entry.id not in self._held:
            task = asyncio.create_task(self._handle(entry))
            self._held[entry.id] = task
            task.add_done_callback(lambda _: self._held.pop(entry.id, None))

    async def _handle(self, entry: Entry) -> None:
        """Bring one entry to its end, however long the servers are away."""
        attempt = 0
        while True:
            _heed_cancellation()
            attempt += 1
            try:
                await self._decide(entry)
            except (RetryLaterError, RedisError, OSError) as error:
                if is_told(attempt):
                    logger.warning("entry %s, attempt %s: %s", entry.id.decode(), attempt, error)
            except Exception:
                # Nothing known; an entry must not be dropped for a mistake of ours.
                logger.exception("entry %s, attempt %s", entry.id.decode(), attempt)
            else:
                self._backoff.succeeded(attempt)
                return
            await self._backoff.wait(attempt)

    async def _decide(self, entry: Entry) -> None:
        try:
            event = parse(entry.fields, received_at(entry.id, datetime.now(UTC)))
            outcome = await self._create(event)
        except (InvalidEventError, RefusedError) as error:
            await self._bury(entry, str(error))
            return
        if outcome is Outcome.CONFLICT:
            await self._bury(
                entry, f"conflict: run {event.run_id} exists with another content of this event id"
            )
            return
        await self._reader.acknowledge(entry.id)
        logger.info("event %s: run %s", event.event_id, outcome.value)

    async def _create(self, event: SignupEvent) -> Outcome:
        async with self._requests:
            outcome = await self._api.create_run(event)
        if outcome is Outcome.CREATED:
            self._active += 1
            self.created += 1
        return outcome

    async def _bury(self, entry: Entry, reason: str) -> None:
        if await self._reader.bury(entry.id, reason):
            logger.warning("entry %s is a dead letter: %s", entry.id.decode(), reason)

    async def _watch_pause(self) -> None:
        """Airflow never tells a trigger of its DAG's pause: look."""
        failures = 0
        while True:
            try:
                if await self._api.is_paused(self._listener_dag):
                    self.stop(PAUSED)
                    return
                failures = 0
            except RetryLaterError as error:
                failures += 1
                if is_told(failures):
                    logger.warning("looking for a pause: %s", error)
            except Exception:
                logger.exception("looking for a pause")
            await asyncio.sleep(self._limits.pause_check)

    async def _show_life(self) -> None:
        """Keep what is in work from being claimed by others."""
        failures = 0
        while True:
            _heed_cancellation()
            await asyncio.sleep(self._limits.claim_after / 4)
            try:
                await self._reader.keep(list(self._held))
                failures = 0
            except Exception as error:
                failures += 1
                if is_told(failures):
                    logger.warning("showing life: %s: %s", type(error).__name__, error)

    async def _end_lifetime(self) -> None:
        await asyncio.sleep(self._limits.lifetime)
        self.stop("end of this life")

    async def _pause_for(self, seconds: float) -> None:
        """Sleep, but not through a stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _let_go(self, unfinished: list[bytes]) -> None:
        try:
            async with asyncio.timeout(_RELEASE):
                await self._reader.release(unfinished)
                await self._reader.retire()
        except (RedisError, OSError) as error:
            logger.warning("letting go: %s: they are claimed later", error)


def _heed_cancellation() -> None:
    """Raise what a library swallowed: every loop that talks to Redis asks before it goes on.

    redis-py sends through `asyncio.wait_for`, and before Python 3.12 that drops a cancellation
    which comes in the moment that its future is done (python/cpython#86296).
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
