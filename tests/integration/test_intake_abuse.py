"""Events in numbers and of contents that nobody sends on purpose: each ends as it should, once."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airlane import intake_commands
from intake import keys
from intake.dead_letters import letters
from intake.events import SignupEvent
from intake.trigger import SignupTrigger
from tests.airflow_double import AirflowDouble
from tests.command_line import runner
from tests.integration.intake_lives import AT, add, is_taken_in, listening, set_trigger
from tests.servers import eventually, wait_until

#: Cases of hypothesis: examples of so many events each.
EXAMPLES, EVENTS = 100, 50
#: Events at once; AIRLANE_BURST=10000 takes a minute here, and hours in tests/chaos.
AT_ONCE = int(os.environ.get("AIRLANE_BURST", "2000"))
#: Seconds; a trigger that stands still ends the test.
_DEADLINE = 300
#: A busy machine may take longer than tests usually do; and who stands still is to be named first.
pytestmark = pytest.mark.timeout(3 * _DEADLINE)
#: Seconds for the events of one example.
_CASE_DEADLINE = 60


def test_thousands_of_events_at_once(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    with events.pipeline(transaction=False) as pipe:
        for number in range(AT_ONCE):
            pipe.xadd(keys.SIGNUPS, {"event_id": f"e{number}", "entity_id": "1", "at": AT})
        pipe.execute()

    async def scenario() -> None:
        async with listening(redis_url, airflow, lifetime=_DEADLINE):
            await eventually(lambda: is_taken_in(events), "all to be taken in", _DEADLINE)

    asyncio.run(scenario())
    assert airflow.events() == sorted(f"e{number}" for number in range(AT_ONCE))
    assert airflow.calls["POST"] == AT_ONCE, "a run was asked for twice"
    assert list(letters(events)) == []


def test_the_same_event_a_thousand_times(
    redis_url: str, events: redis.Redis, airflow: AirflowDouble
) -> None:
    for number in range(1_000):
        add(events, "same", payload='{"x": 1}')
        if number % 100 == 50:
            add(events, "same", payload='{"x": 2}')

    async def scenario() -> None:
        async with listening(redis_url, airflow, lifetime=_DEADLINE):
            await eventually(lambda: is_taken_in(events), "all to be taken in", _DEADLINE)

    asyncio.run(scenario())
    assert airflow.events() == ["same"]
    # whichever was first: of two contents one is the conflict
    found = list(letters(events))
    kept = airflow.runs["signup-same"]["conf"]["event"]["payload"]["x"]
    assert len(found) == (10 if kept == 1 else 1_000)
    assert all(letter.reason.startswith("conflict: ") for letter in found)


def _json_text() -> st.SearchStrategy[bytes]:
    values = st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(-(2**63) - 2, -(2**63) + 2)
        | st.integers(2**63 - 2, 2**63 + 2)
        | st.floats()
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
    deep = st.integers(1, 5_000).map(lambda levels: b"[" * levels + b"]" * levels)
    digits = st.integers(1, 5_000).map(lambda count: b"9" * count)
    return values.map(lambda value: json.dumps(value).encode()) | deep | digits


_IDS = st.from_regex(r"[A-Za-z0-9_.~:+-]{1,60}", fullmatch=True)
_TEXTS = st.text(max_size=260).map(lambda text: text.encode(errors="surrogatepass"))
_ANY = st.binary(max_size=260)
_TIMES = st.datetimes(timezones=st.none() | st.timezones()).map(
    lambda time: time.isoformat().encode()
)
_EVENTS = st.fixed_dictionaries(
    {
        b"event_id": _IDS.map(str.encode) | _TEXTS | _ANY,
        b"entity_id": st.integers(1, 1_000).map(lambda n: str(n).encode()) | _TEXTS | _ANY,
        b"at": st.just(AT.encode()) | _TIMES | _TEXTS | _ANY,
    },
    optional={
        b"payload": _json_text() | _TEXTS | _ANY,
        b"other": _ANY,
        b"\xff\x00": _ANY,
    },
) | st.dictionaries(_ANY, _ANY, min_size=1, max_size=5)


@contextmanager
def _trigger() -> Iterator[threading.Thread]:
    """Run the trigger in a loop of its own, as the triggerer does."""
    loop = asyncio.new_event_loop()
    ended: list[Any] = []

    async def run() -> None:
        ended.extend([event async for event in SignupTrigger().run()])

    task = loop.create_task(run())

    def work() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(30)
        loop.close()
    assert ended == [], "the trigger ended by itself"


def test_whatever_the_fields_hold_an_event_is_a_run_or_a_dead_letter(
    redis_url: str,
    events: redis.Redis,
    airflow: AirflowDouble,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_trigger(monkeypatch, redis_url, airflow)

    @settings(
        max_examples=EXAMPLES,
        # an entry without an end takes the whole deadline, each time that it is made smaller
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.lists(_EVENTS, min_size=EVENTS, max_size=EVENTS))
    def each(batch: list[dict[bytes, bytes]]) -> None:
        events.delete(keys.DEAD)
        sent = {}
        for fields in batch:
            entry: Any = events.xadd(keys.SIGNUPS, fields)  # type: ignore[arg-type]
            sent[entry.decode()] = fields
        marker = uuid4().hex
        add(events, marker)
        wait_until(lambda: is_taken_in(events), "every event to have its end", _CASE_DEADLINE)
        assert f"signup-{marker}" in airflow.runs, "who sends well is not held up"
        found = list(letters(events))
        buried = {letter.source: letter for letter in found}
        assert len(buried) == len(found), "an event was buried twice"
        for entry_id, fields in sent.items():
            letter = buried.get(entry_id)
            assert (letter is None) == _has_run(airflow, fields), fields
            if letter:
                assert letter.reason.isprintable()
                assert letter.fields == {
                    name.decode(errors="backslashreplace"): value for name, value in fields.items()
                }

    with _trigger() as thread:
        each()
        assert thread.is_alive()


def _has_run(airflow: AirflowDouble, fields: dict[bytes, bytes]) -> bool:
    """Tell whether there is a run of exactly this event; what it carries is what was sent."""
    event_id = fields.get(b"event_id", b"").decode(errors="replace")
    run = airflow.runs.get(f"signup-{event_id}")
    if run is None:
        return False
    try:
        payload = json.loads(fields.get(b"payload", b"null"))
    except (ValueError, RecursionError):
        return False
    event = SignupEvent(
        event_id=event_id,
        entity_id=fields.get(b"entity_id", b"").decode(errors="replace"),
        at=fields.get(b"at", b"").decode(errors="replace"),
        payload=payload,
        received_at=datetime.now(UTC).isoformat(),
    )
    return event.is_same(run["conf"])


def test_a_thousand_dead_letters_are_replayed(
    redis_url: str,
    events: redis.Redis,
    airflow: AirflowDouble,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(1_000):
        letter = {"event.event_id": f"e{number}", "event.entity_id": "1", "event.at": AT}
        events.xadd(keys.DEAD, {"reason": "error: once", "source": "", **letter})
        if number == 500:
            gone: Any = events.xadd(keys.DEAD, {"reason": "its entry was deleted", "source": "1-1"})
    monkeypatch.setattr(intake_commands, "reach", lambda: SimpleNamespace(events=redis_url))
    ended = runner(monkeypatch, capsys)("dead", "replay", "--all", "--json")
    assert ended.code == 1, "one of them holds no event"
    assert gone.decode() in ended.err
    assert len(ended.out.splitlines()) == 1_000
    assert [letter.id for letter in letters(events)] == [gone.decode()]

    async def scenario() -> None:
        async with listening(redis_url, airflow, lifetime=_DEADLINE):
            await eventually(lambda: is_taken_in(events), "all to be taken in", _DEADLINE)

    asyncio.run(scenario())
    assert airflow.events() == sorted(f"e{number}.r2" for number in range(1_000))
