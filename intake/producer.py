"""What an application does: send a sign-up, await its decision (contract: docs/producer.md)."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

from redis import Redis

from intake import keys

#: Milliseconds that one blocking read takes at most: below the client's socket time-out.
_BLOCK_MS = 1000
#: Decisions that one read returns at most.
_PAGE = 100


def signup(
    client: Redis,
    entity_id: str | int,
    event_id: str | None = None,
    payload: Any = None,
    at: datetime | None = None,
) -> str:
    """Send a sign-up event and return its id.

    To send it again when the connection broke in the middle, give `event_id` and `at`: the same
    id with another content is a conflict.

    Parameters
    ----------
    entity_id
        Whom to decide about.
    event_id
        Your id of this sign-up; by default a new one.
    payload
        Any JSON value of up to 64 KiB.
    at
        Time of the sign-up, with a time zone; by default now.
    """
    event = fields(entity_id, event_id, payload, at)
    client.xadd(keys.SIGNUPS, cast("Any", event))
    return event["event_id"]


def fields(
    entity_id: str | int,
    event_id: str | None = None,
    payload: Any = None,
    at: datetime | None = None,
) -> dict[str, str]:
    """Return the fields of a sign-up event; the arguments are those of `signup`."""
    event = {
        "event_id": event_id or uuid4().hex,
        "entity_id": str(entity_id),
        "at": (at or datetime.now(UTC)).isoformat(timespec="milliseconds"),
    }
    if payload is not None:
        event["payload"] = json.dumps(payload)
    return event


def tail(client: Redis) -> str:
    """Return the id of the newest decision, for `follow` to start behind it."""
    newest = cast("list[Any]", client.xrevrange(keys.DECISIONS, count=1))
    return _text(newest[0][0]) if newest else "0-0"


def follow(
    client: Redis, after: str = "0-0", timeout: float | None = None
) -> Iterator[dict[str, Any]]:
    """Yield decisions behind the id `after`, oldest first, as they come.

    Ends when `timeout` seconds (from the start) are over and what was there by then is read;
    without, never.
    """
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _BLOCK_MS
        if end is not None:
            # At least one read, also with a time-out of 0; BLOCK 0 would wait for ever.
            left = max(1, int(min(_BLOCK_MS, (end - time.monotonic()) * 1000)))
        reply = cast("Any", client.xread({keys.DECISIONS: after}, block=left, count=_PAGE))
        entries = _entries(reply)
        for entry_id, fields in entries:
            after = _text(entry_id)
            yield json.loads(fields.get(b"json") or fields["json"])
        # Not when a read found nothing: where decisions come all the time, none does.
        if end is not None and len(entries) < _PAGE and time.monotonic() >= end:
            return


def wait(
    client: Redis, event_ids: Collection[str], timeout: float, after: str = "0-0"
) -> dict[str, dict[str, Any]]:
    """Await the decisions about some events and return those that came in time, by event id.

    Take `after = tail(client)` before you send the events; without it the whole stream is read.
    """
    missing = set(event_ids)
    found: dict[str, dict[str, Any]] = {}
    for decision in follow(client, after, timeout):
        if decision["event_id"] in missing:
            found[decision["event_id"]] = decision
            missing.remove(decision["event_id"])
        if not missing:
            break
    return found


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _entries(reply: Any) -> list[Any]:
    """Return the entries of the one stream read, whatever shape the client's settings give them."""
    if not reply:
        return []
    found = next(iter(reply.values())) if isinstance(reply, dict) else reply[0][1]
    # RESP3 with redis-py's old shapes: one list more around them.
    return list(found if not found or isinstance(found[0][0], bytes | str) else found[0])
