from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.events import (
    MAX_EVENT_ID,
    MAX_PAYLOAD_BYTES,
    InvalidEventError,
    parse,
    received_at,
    signed_up_at,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECEIVED = "2026-03-01T12:00:00.000+00:00"
GOOD = {b"event_id": b"e-1", b"entity_id": b"7", b"at": b"2026-03-01T12:00:00Z"}

event_ids = st.from_regex(r"[A-Za-z0-9_~:+-]([A-Za-z0-9_~:+-]|\.(?!\.)){0,50}", fullmatch=True)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(-9e18, 9e18)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
payloads = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
entity_ids = st.text(min_size=1, max_size=40).filter(
    lambda text: text.isprintable() and len(text.encode(errors="ignore")) <= 200
)
times = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2090, 1, 1),  # noqa: DTZ001
    timezones=st.timezones(),
)


@given(event_ids, entity_ids, times, payloads)
def test_every_event_within_the_contract_becomes_a_run(
    event_id: str, entity_id: str, at: datetime, payload: object
) -> None:
    fields = {
        b"event_id": event_id.encode(),
        b"entity_id": entity_id.encode(),
        b"at": at.isoformat().encode(),
        b"payload": json.dumps(payload).encode(),
    }
    event = parse(fields, RECEIVED)
    assert event.event_id == event_id
    assert event.entity_id == entity_id
    assert event.payload == payload
    assert event.run_id == f"signup-{event_id}"
    # What Airflow asks of run ids, and PostgreSQL and HTTP of what a conf holds.
    assert re.fullmatch(r"[A-Za-z0-9_.~:+-]+", event.run_id)
    assert ".." not in event.run_id
    wire = json.dumps(event.conf(), ensure_ascii=False, allow_nan=False).encode()
    assert event.is_same(json.loads(wire))


@given(st.dictionaries(st.binary(max_size=12), st.binary(max_size=60), max_size=5))
def test_no_bytes_whatever_raise_anything_but_a_reason(fields: dict[bytes, bytes]) -> None:
    with pytest.raises(InvalidEventError, match="expected"):
        parse(fields, RECEIVED)


@given(st.sampled_from([b"event_id", b"entity_id", b"at", b"payload"]), st.binary(max_size=80))
def test_one_bad_field_gives_a_reason_that_names_it(name: bytes, value: bytes) -> None:
    try:
        event = parse({**GOOD, name: value}, RECEIVED)
    except InvalidEventError as error:
        assert str(error).startswith(f"{name.decode()}: expected ")  # noqa: PT017
        assert len(str(error)) < 1000  # noqa: PT017
    else:
        json.dumps(event.conf(), ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({b"event_id": b""}, "event_id"),
        ({b"event_id": b"a..b"}, r"event_id: expected no '\.\.'"),
        ({b"event_id": b"abc\n"}, "event_id"),
        ({b"event_id": "ä".encode()}, "event_id"),
        ({b"event_id": b"a/b"}, "event_id"),
        ({b"event_id": b"x" * (MAX_EVENT_ID + 1)}, "event_id: expected at most 200 bytes"),
        ({b"event_id": b"\xff"}, "event_id: expected UTF-8"),
        ({b"entity_id": b""}, "entity_id"),
        ({b"entity_id": b"1\n"}, "entity_id"),
        ({b"at": b"yesterday"}, "at: expected a time like"),
        ({b"at": b"2026-03-01T12:00:00"}, "no offset"),
        ({b"at": b"0001-01-01T00:00:00+14:00"}, "at: expected"),
        ({b"at": b"2026-03-01\x0012:00:00Z"}, "at: expected a time like"),
        ({b"at": b"2026-03-01\x1b12:00:00Z"}, "at: expected a time like"),
        ({b"payload": b""}, "payload: expected JSON"),
        ({b"payload": b"{"}, "payload: expected JSON"),
        ({b"payload": b"\xff"}, "payload: expected JSON"),
        ({b"payload": b"NaN"}, "number NaN"),
        ({b"payload": b"1e999"}, "numbers of 64 bits"),
        ({b"payload": b"-1e19"}, "numbers of 64 bits"),
        ({b"payload": b"9223372036854775808"}, "64 bits"),
        ({b"payload": b"9" * 400}, "64 bits"),
        ({b"payload": b"9" * 5000}, "payload: expected"),
        ({b"payload": rb'"\u0000"'}, "NUL"),
        ({b"payload": rb'{"\ud800": 1}'}, "surrogates"),
        ({b"payload": b"[" * 40 + b"]" * 40}, "levels"),
        ({b"payload": b"[" * 60_000}, "payload: expected"),
        ({b"payload": b'"' + b"x" * MAX_PAYLOAD_BYTES + b'"'}, "at most 65536 bytes, found 65538"),
    ],
)
def test_what_cannot_become_a_run_is_refused(change: dict[bytes, bytes], reason: str) -> None:
    with pytest.raises(InvalidEventError, match=reason):
        parse({**GOOD, **change}, RECEIVED)


@pytest.mark.parametrize("name", [b"event_id", b"entity_id", b"at"])
def test_a_missing_field_is_named(name: bytes) -> None:
    fields = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(InvalidEventError, match=f"^{name.decode()}: expected the field"):
        parse(fields, RECEIVED)


def test_limits_are_within_the_contract() -> None:
    fields = {
        **GOOD,
        b"event_id": b"x" * MAX_EVENT_ID,
        b"payload": b'"' + b"x" * (MAX_PAYLOAD_BYTES - 2) + b'"',
    }
    assert len(parse(fields, RECEIVED).payload) == MAX_PAYLOAD_BYTES - 2


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"received_at": "2026-03-02T12:00:00+00:00"}, True),
        ({"entity_id": "8"}, False),
        ({"at": "2026-03-01T12:00:01Z"}, False),
        ({"payload": {"a": 1}}, False),
    ],
)
def test_the_same_event_is_told_by_its_content(change: dict[str, object], same: bool) -> None:
    event = parse(GOOD, RECEIVED)
    assert event.is_same({"event": {**event.conf()["event"], **change}}) is same


@pytest.mark.parametrize("conf", [None, {}, {"event": None}, {"event": {}}, []])
def test_a_run_without_an_event_is_another(conf: object) -> None:
    assert not parse(GOOD, RECEIVED).is_same(conf)


def test_a_number_is_the_same_in_the_digits_that_postgresql_gives_it() -> None:
    event = parse({**GOOD, b"payload": b"[1.2345678901234567e18]"}, RECEIVED)
    conf = event.conf()
    for digits, same in ((1234567890123456700, True), (1234567890123455000, False)):
        conf["event"]["payload"] = [digits]
        assert event.is_same(conf) is same
    conf["event"]["payload"] = [10**400]
    assert not event.is_same(conf)


def test_true_is_not_one() -> None:
    event = parse({**GOOD, b"payload": b'{"a": [1]}'}, RECEIVED)
    conf = event.conf()
    conf["event"]["payload"] = {"a": [True]}
    assert not event.is_same(conf)
    conf["event"]["payload"] = {"a": [1.0]}
    assert event.is_same(conf)


@pytest.mark.parametrize(
    ("offset", "trusted"),
    [
        (timedelta(0), True),
        (timedelta(days=-3), True),
        (timedelta(days=-365), False),
        (timedelta(seconds=5), False),
    ],
)
def test_the_time_of_receipt_is_the_entrys_unless_absurd(offset: timedelta, trusted: bool) -> None:
    time = NOW + offset
    entry_id = f"{int(time.timestamp() * 1000)}-3"
    expected = time if trusted else NOW
    assert datetime.fromisoformat(received_at(entry_id.encode(), NOW)) == expected


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_any_entry_id_has_a_time_of_receipt(milliseconds: int, sequence: int) -> None:
    assert datetime.fromisoformat(received_at(f"{milliseconds}-{sequence}", NOW)) <= NOW


def test_seconds_count_from_the_receipt() -> None:
    event = parse(GOOD, "2026-03-01T13:00:00.000+00:00").conf()["event"]
    assert signed_up_at(event) == datetime(2026, 3, 1, 13, tzinfo=UTC)
    del event["received_at"]
    assert signed_up_at(event) == NOW


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_no_driver_reads_back_is_refused(text: str) -> None:
    # such as in the conf of a run that a person made
    with pytest.raises(ValueError, match="expected a time of the years 1 to 9999"):
        signed_up_at({"at": text})
