"""Sign-ups that flow all the time, and the proof that each was decided exactly once."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
import redis

from intake import keys, producer
from tests.hosts.network import enter

#: Seconds between two sign-ups. A decision costs about a second of CPU, and all hosts share the
#: machine's cores.
PACE = 4.0
#: Applicants of the book.
_APPLICANTS = 1000
#: Seconds for an answer of the events server.
_TIMEOUT = 5


class SignUps:
    """An application: a thread that sends sign-ups, one that reads decisions.

    Both speak from the hosts' network with the producer's login, and do what docs/producer.md
    says: what was not confirmed is sent again under the same id, reading goes on behind the last
    entry.

    Parameters
    ----------
    url
        Of the events server, with login.
    namespace
        Where the threads live.
    """

    def __init__(self, url: str, namespace: str) -> None:
        self._url = url
        self._namespace = namespace
        self._end = threading.Event()
        self._quiet = threading.Event()
        self._unread, self._idle = threading.Event(), threading.Event()
        self._after = "0-0"
        self._trouble: list[str] = []
        #: Event -> when it was confirmed (time.monotonic).
        self.sent: dict[str, float] = {}
        #: Event -> the decisions about it, in order; more than one is a fault.
        self.decided: dict[str, list[dict[str, Any]]] = {}
        #: Event -> when its decision was read.
        self.read: dict[str, float] = {}
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), name=work.__name__, daemon=True)
            for work in (self._send, self._follow)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both threads."""
        self._end.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def pause(self) -> None:
        """Send nothing for a while."""
        self._quiet.set()

    def go_on(self) -> None:
        """Send again."""
        self._quiet.clear()

    def pause_reading(self) -> None:
        """Read no more decisions, as an application that is off."""
        self._unread.set()
        assert self._idle.wait(30), "a read does not end"

    def read_anew(self) -> None:
        """Read all decisions from the first one on, as if none was known."""
        self.decided.clear()
        self.read.clear()
        self._after = "0-0"
        self._idle.clear()
        self._unread.clear()

    def mark(self) -> float:
        """Return a moment, for `check` and `seconds`."""
        return time.monotonic()

    def since(self, moment: float) -> list[str]:
        """Return the events that were sent after a moment."""
        return [event for event, at in list(self.sent.items()) if at >= moment]

    def check(self, moment: float = 0.0, deadline: float = 240) -> list[str]:
        """Expect each event sent since a moment to have exactly one decision, and no error.

        Returns
        -------
        list of str
            The events.
        """
        events = self.since(moment)
        end = time.monotonic() + deadline
        while missing := [event for event in events if event not in self.decided]:
            self.expect_alive()
            if time.monotonic() > end:
                pytest.fail(
                    f"{len(missing)} of {len(events)} sign-ups not decided within {deadline:g} s: "
                    f"{missing[:5]}"
                )
            time.sleep(1)
        counts = Counter(len(self.decided[event]) for event in events)
        assert set(counts) <= {1}, f"decisions for an event: {counts}"
        errors = [self.decided[event][0] for event in events]
        errors = [decision for decision in errors if decision["decision"] == "error"]
        assert not errors, f"{len(errors)} of {len(events)} ended as errors: {errors[:3]}"
        self.expect_alive()
        return events

    def seconds(self, events: Iterable[str]) -> list[float]:
        """Return from sending to reading, for each event, ascending."""
        return sorted(self.read[event] - self.sent[event] for event in events)

    def silence(self, moment: float) -> float:
        """Return the longest time without a decision since a moment, in seconds."""
        times = [moment, *sorted(at for at in list(self.read.values()) if at >= moment)]
        return max(after - before for before, after in pairwise([*times, time.monotonic()]))

    def expect_alive(self) -> None:
        """Fail when a thread has ended by itself."""
        assert not self._trouble, "\n".join(self._trouble)

    def _guard(self, work: Any) -> None:
        try:
            enter(self._namespace)
            work()
        except Exception as error:
            self._trouble.append(f"{work.__name__}: {type(error).__name__}: {error}")

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(
            self._url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
        )

    def _send(self) -> None:
        number = 0
        with self._client() as client:
            while not self._end.wait(PACE):
                if self._quiet.is_set():
                    continue
                number += 1
                self._send_one(client, 1 + number % _APPLICANTS)

    def _send_one(self, client: redis.Redis, entity: int) -> None:
        event, at = f"hosts-{uuid4().hex}", datetime.now(UTC)
        while not self._end.is_set():
            try:
                producer.signup(client, entity, event_id=event, at=at)
            except (redis.ConnectionError, redis.TimeoutError):
                time.sleep(0.5)
            else:
                self.sent[event] = time.monotonic()
                return

    def _follow(self) -> None:
        with self._client() as client:
            while not self._end.is_set():
                if self._unread.is_set():
                    self._idle.set()
                    time.sleep(0.1)
                    continue
                try:
                    read = {keys.DECISIONS: self._after}
                    reply: Any = client.xread(read, block=1000, count=100)
                except (redis.ConnectionError, redis.TimeoutError):
                    time.sleep(0.5)
                    continue
                for entry, decision in _entries(reply):
                    self._after = entry
                    event = decision["event_id"]
                    self.decided.setdefault(event, []).append(decision)
                    self.read.setdefault(event, time.monotonic())


def _entries(reply: Any) -> list[tuple[str, dict[str, Any]]]:
    found = next(iter(reply.values())) if isinstance(reply, dict) else (reply or [[0, []]])[0][1]
    if found and not isinstance(found[0][0], bytes | str):
        found = found[0]  # RESP3: one list more
    return [(entry.decode(), json.loads(fields[b"json"])) for entry, fields in found]
