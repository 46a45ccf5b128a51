"""Dead letters: what could not be decided, with the reason, and how it gets another try."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from redis import Redis

from intake import keys, scripts
from intake.events import MAX_EVENT_ID

_PAGE = 100
_PREFIX = "event."
#: Reasons of letters whose event id is taken: by a ledger row, or by another event's run.
_TAKEN = ("error:", "conflict:")


class UnknownLetterError(LookupError):
    """There is no dead letter of this id."""


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter; `fields` are the event's, raw, as they came."""

    id: str
    reason: str
    source: str
    fields: dict[str, bytes]

    @property
    def event(self) -> dict[str, Any]:
        """The event's fields as far as they can be read: text, and the payload's JSON value."""
        event: dict[str, Any] = {
            name: value.decode(errors="backslashreplace") for name, value in self.fields.items()
        }
        if "payload" in event:
            with suppress(ValueError, RecursionError):
                payload = json.loads(self.fields["payload"])
                # Python reads NaN and Infinity, which no other reader of JSON takes
                json.dumps(payload, allow_nan=False)
                event["payload"] = payload
        return event

    def to_json(self) -> dict[str, Any]:
        """Return the object that programs read."""
        return {"id": self.id, "reason": self.reason, "event": self.event}


def letters(client: Redis) -> Iterator[DeadLetter]:
    """Yield all dead letters, oldest first."""
    start = "-"
    while True:
        page = cast("list[Any]", client.xrange(keys.DEAD, min=start, count=_PAGE))
        yield from map(_letter, page)
        if len(page) < _PAGE:
            return
        start = f"({_decode(page[-1][0])}"


def show(client: Redis, letter_id: str) -> DeadLetter:
    """Return one dead letter.

    Raises
    ------
    UnknownLetterError
        When there is none of this id.
    """
    page: list[Any] = []
    if re.fullmatch(r"\d+-\d+", letter_id):
        page = cast("list[Any]", client.xrange(keys.DEAD, min=letter_id, max=letter_id))
    if not page:
        raise UnknownLetterError(
            f"expected the id of a dead letter, found {letter_id!r}: see `airlane dead list`"
        )
    return _letter(page[0])


def replay(client: Redis, letter_id: str) -> str:
    """Send a dead letter's event again, remove the letter, and return the event's id.

    An event that never had a run is sent as it was. A ledger row is for ever, and a run id is
    taken, so an `error` and a `conflict` are sent under a new event id: `<id>.r2`, then `.r3`.

    Raises
    ------
    UnknownLetterError
        When there is none of this id (any more).
    """
    letter = show(client, letter_id)
    fields = dict(letter.fields)
    if not fields:
        raise UnknownLetterError(f"dead letter {letter_id} holds no event that could be sent again")
    if letter.reason.startswith(_TAKEN):
        fields["event_id"] = next_id(fields["event_id"].decode()).encode()
    words = [word for name, value in fields.items() for word in (name, value)]
    sent = client.eval(
        scripts.source("replay"), 2, keys.DEAD, keys.SIGNUPS, letter_id, *cast("Any", words)
    )
    if sent is None:
        raise UnknownLetterError(f"dead letter {letter_id} was replayed by somebody else just now")
    return fields.get("event_id", b"").decode(errors="backslashreplace")


def next_id(event_id: str) -> str:
    """Return the id under which an event is tried again; always the same for the same id."""
    match = re.fullmatch(r"(.+)\.r([1-9]\d{0,5})", event_id)
    base, number = (match[1], int(match[2])) if match else (event_id, 1)
    suffix = f".r{number + 1}"
    if len(base) + len(suffix) > MAX_EVENT_ID:
        digest = sha256(base.encode()).hexdigest()[:16]
        base = base[: MAX_EVENT_ID - 40] + "~" + digest
    return base.rstrip(".") + suffix


def _letter(entry: tuple[bytes | str, dict[Any, Any]]) -> DeadLetter:
    letter_id, raw = entry
    fields = {_decode(name): _encode(value) for name, value in raw.items()}
    return DeadLetter(
        id=_decode(letter_id),
        reason=fields.get("reason", b"").decode(errors="replace"),
        source=fields.get("source", b"").decode(),
        fields={
            name.removeprefix(_PREFIX): value
            for name, value in fields.items()
            if name.startswith(_PREFIX)
        },
    )


def _decode(value: bytes | str) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def _encode(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value
