"""A sign-up event: what a producer may send, and the run that it becomes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from intake.escaping import printable

#: Bytes of `payload`.
MAX_PAYLOAD_BYTES = 64 * 1024
#: Nesting of `payload`: far above honest data, far below what recursion on the way endures.
MAX_PAYLOAD_DEPTH = 32
#: Characters of `event_id`: with its prefix it is a run id (250 in Airflow's tables) and the name
#: of a log folder (255 bytes on file systems).
MAX_EVENT_ID = 200
MAX_ENTITY_ID = 200
MAX_AT = 64

RUN_ID_PREFIX = "signup-"
#: Airflow's `[scheduler] allowed_run_id_pattern`, held against the whole id: Airflow itself
#: matches with `$`, which lets a newline at the end pass.
_EVENT_ID = re.compile(r"[A-Za-z0-9_.~:+-]+")
#: Ids of entries are trusted as time of receipt within these bounds (a producer may choose ids).
_OLDEST_RECEIPT = timedelta(days=60)


class InvalidEventError(ValueError):
    """An event that cannot become a run; the message is the reason on its dead letter."""


@dataclass(frozen=True)
class SignupEvent:
    """A valid event.

    Parameters
    ----------
    event_id
        The producer's id of this sign-up: same id, same content.
    entity_id
        Whom the decision is about.
    at
        The producer's time, ISO 8601 with an offset, as it came.
    payload
        Any JSON value; None when there was none.
    received_at
        When the events server took it in (ISO 8601, UTC): a producer's clock may be off, this is
        what a decision's seconds are measured from.
    """

    event_id: str
    entity_id: str
    at: str
    payload: Any
    received_at: str

    @property
    def run_id(self) -> str:
        """The run that this event becomes: the same event finds its run there."""
        return RUN_ID_PREFIX + self.event_id

    def conf(self) -> dict[str, Any]:
        """Return the run's conf."""
        return {
            "event": {
                "event_id": self.event_id,
                "entity_id": self.entity_id,
                "at": self.at,
                "payload": self.payload,
                "received_at": self.received_at,
            }
        }

    def is_same(self, conf: Any) -> bool:
        """Tell whether a run's conf carries this event; when it was received does not count."""
        event = conf.get("event") if isinstance(conf, Mapping) else None
        if not isinstance(event, Mapping):
            return False
        mine = self.conf()["event"]
        return all(
            key in event and _same_json(event[key], mine[key])
            for key in ("event_id", "entity_id", "at", "payload")
        )


def parse(fields: Mapping[bytes, bytes], received_at: str) -> SignupEvent:
    """Read the fields of a stream entry.

    Raises
    ------
    InvalidEventError
        With what was expected and what was found. Fields of other names are let pass and ignored.
    """
    return SignupEvent(
        event_id=_event_id(_text(fields, "event_id", MAX_EVENT_ID)),
        entity_id=_entity_id(_text(fields, "entity_id", MAX_ENTITY_ID)),
        at=_at(_text(fields, "at", MAX_AT)),
        payload=_payload(fields.get(b"payload")),
        received_at=received_at,
    )


def received_at(entry_id: bytes | str, now: datetime) -> str:
    """Return the time in a stream entry's id (its first half, in ms), or now if that is absurd."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds = int(text.partition("-")[0])
    age = now.timestamp() - milliseconds / 1000
    time = now
    if 0 <= age <= _OLDEST_RECEIPT.total_seconds():
        time = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


def signed_up_at(event: Mapping[str, Any]) -> datetime:
    """Return the time from which a decision's seconds count, from the event in a run's conf.

    Raises
    ------
    ValueError
        When it is none, or beyond the years 1 to 9999 in UTC: PostgreSQL takes such a time and its
        driver cannot read it, so one row would keep all decisions from being published.
    """
    text = event.get("received_at") or event["at"]
    time = datetime.fromisoformat(text)
    try:
        time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(
            f"expected a time of the years 1 to 9999 in UTC, found {text!r}"
        ) from error
    return time


def _text(fields: Mapping[bytes, bytes], name: str, limit: int) -> str:
    raw = fields.get(name.encode())
    if raw is None:
        names = (key.decode(errors="backslashreplace") for key in fields)
        present = ", ".join(sorted(printable(name)[:40] for name in names))
        raise InvalidEventError(f"{name}: expected the field, found only: {present[:200] or '-'}")
    if len(raw) > limit:
        raise InvalidEventError(f"{name}: expected at most {limit} bytes, found {len(raw)}")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidEventError(f"{name}: expected UTF-8, found {raw[:40]!r}: {error}") from error


def _event_id(text: str) -> str:
    if not _EVENT_ID.fullmatch(text):
        raise InvalidEventError(
            f"event_id: expected letters, digits and _.~:+- (it names a run), found {text[:80]!r}"
        )
    if ".." in text:
        raise InvalidEventError(f"event_id: expected no '..' (it names a run), found {text[:80]!r}")
    return text


def _entity_id(text: str) -> str:
    if not text or not text.isprintable():
        raise InvalidEventError(f"entity_id: expected printable text, found {text[:80]!r}")
    return text


def _at(text: str) -> str:
    expected = "at: expected a time like 2026-01-31T12:00:00Z (ISO 8601 with an offset), found"
    try:
        # Python lets any character part date and time, also NUL, which no database takes.
        if not text.isprintable():
            raise InvalidEventError(f"{expected} {text!r}")
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise InvalidEventError(f"{expected} no offset in {text!r}")
        time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        if isinstance(error, InvalidEventError):
            raise
        raise InvalidEventError(f"{expected} {text!r}") from error
    return text


def _payload(raw: bytes | None) -> Any:
    if raw is None:
        return None
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise InvalidEventError(
            f"payload: expected at most {MAX_PAYLOAD_BYTES} bytes, found {len(raw)}"
        )
    try:
        value = json.loads(raw.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidEventError):
            raise
        # A JSON error carries the whole document; only its message is wanted.
        raise InvalidEventError(f"payload: expected JSON, found {raw[:40]!r}: {error}") from error
    _check_value(value, MAX_PAYLOAD_DEPTH)
    return value


def _no_constant(name: str) -> None:
    raise InvalidEventError(f"payload: expected JSON, found the number {name}")


def _check_value(value: Any, depth: int) -> None:
    """Refuse what PostgreSQL, HTTP or Airflow would stumble over later."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidEventError(
                f"payload: expected text without NUL and lone surrogates, found {value[:40]!r}"
            )
    elif isinstance(value, int | float):
        # PostgreSQL gives a larger double as digits, an integer that no task could be handed.
        # Infinities and NaN are not within these bounds either.
        if not -(2**63) <= value < 2**63:
            raise InvalidEventError("payload: expected numbers of 64 bits, found a larger one")
    elif isinstance(value, dict | list):
        if depth == 0:
            raise InvalidEventError(
                f"payload: expected at most {MAX_PAYLOAD_DEPTH} levels, found more"
            )
        if isinstance(value, dict):
            for key in value:
                _check_value(key, depth)
        for item in value.values() if isinstance(value, dict) else value:
            _check_value(item, depth - 1)


def _same_json(left: Any, right: Any) -> bool:
    """Compare JSON values, numbers with a fraction as doubles: PostgreSQL may write one as digits.

    Unlike Python's `==`, true is not 1 (but 1 and 1.0 are one number).
    """
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same_json(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same_json, left, right))
    if isinstance(left, float) or isinstance(right, float):
        return bool(_double(left) == _double(right))
    return bool(left == right)


def _double(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, int) else value
    except OverflowError:
        return value
