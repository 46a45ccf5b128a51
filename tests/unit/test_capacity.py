"""The slots of pools for the workers that live: a plain calculation, and when it is made."""

from __future__ import annotations

from itertools import pairwise

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from airflow_config import capacity, live_workers, pools, queues
from airflow_config.capacity import Capacity, slots
from airflow_config.live_workers import LiveWorker, unserved
from airflow_config.queues import PARALLELISM_MARGIN
from tests.clock import Clock

MODEL = """\
queues:
  urgent: {priority: 9, task_timeout: 30s}
  small: {priority: 5, task_timeout: 30s}
  rest: {priority: 1, default: true, task_timeout: 2h}
workers:
  urgent: {home: urgent, concurrency: 8, hosts: {max: 3}}
  small: {home: small, concurrency: 2, local: 0}
  rest: {home: rest, lends_to: [small, urgent], concurrency: 4, local: 2, hosts: {max: 5}}
"""
FLEET = queues.read(MODEL)


def worker(
    worker_class: str = "rest",
    number: int = 1,
    concurrency: int | None = None,
    consumes: tuple[str, ...] | None = None,
    held: dict[str, int] | None = None,
) -> LiveWorker:
    if consumes is None:
        consumes = FLEET.consumes(worker_class)
    return LiveWorker(
        name=f"{worker_class}-{number}@host",
        worker_class=worker_class,
        host="host",
        concurrency=FLEET.workers[worker_class].concurrency if concurrency is None else concurrency,
        queues=consumes,
        held=held or {},
        release="1",
    )


counts = st.fixed_dictionaries({name: st.integers(0, 12) for name in FLEET.workers})
names = st.sampled_from([*FLEET.queues, "gone"])
any_workers = st.lists(
    st.builds(
        worker,
        worker_class=st.sampled_from(list(FLEET.workers)),
        number=st.integers(1, 99),
        concurrency=st.integers(0, 50),
        consumes=st.lists(names, unique=True).map(tuple),
        held=st.dictionaries(names, st.integers(0, 9)),
    ),
    max_size=20,
)


@given(counts)
def test_they_are_those_of_the_live_workers(alive: dict[str, int]) -> None:
    live = [worker(name, number) for name, count in alive.items() for number in range(count)]
    most = FLEET.largest()
    within = all(count <= most[name] for name, count in alive.items())
    expected = FLEET.pool_slots(alive)
    for queue, found in slots(FLEET, live).items():
        if not expected[queue]:
            assert found == pools.least(FLEET, queue)
        elif within:
            assert found == expected[queue]


@given(any_workers)
def test_every_task_can_be_sent_and_parallelism_never_binds(live: list[LiveWorker]) -> None:
    found = slots(FLEET, live)
    assert list(found) == list(FLEET.queues)
    assert all(count >= 1 for name, count in found.items() if name in unserved(FLEET, live))
    assert sum(found.values()) <= FLEET.parallelism() - PARALLELISM_MARGIN


@given(any_workers, st.randoms())
def test_the_order_of_workers_does_not_matter(live: list[LiveWorker], random) -> None:
    mixed = list(live)
    random.shuffle(mixed)
    assert slots(FLEET, mixed) == slots(FLEET, live)


@given(st.lists(st.sampled_from(list(FLEET.workers)), max_size=20))
def test_one_more_worker_never_takes_from_a_queue_that_is_served(classes: list[str]) -> None:
    live = [worker(name, number) for number, name in enumerate(classes)]
    for few, more in pairwise([live[:end] for end in range(len(live) + 1)]):
        served = [name for name in FLEET.queues if name not in unserved(FLEET, few)]
        before, after = slots(FLEET, few), slots(FLEET, more)
        assert all(after[name] >= before[name] for name in served)


def test_no_worker_at_all() -> None:
    assert unserved(FLEET, []) == ["urgent", "small", "rest"]
    assert slots(FLEET, []) == {"urgent": 8, "small": 2, "rest": 4}


def test_a_queue_that_only_lent_capacity_serves_has_just_that() -> None:
    live = [worker("rest")]
    assert unserved(FLEET, live) == []
    assert slots(FLEET, live) == {"urgent": 4, "small": 4, "rest": 4}


def test_what_a_worker_that_stops_still_runs_counts_until_it_ends() -> None:
    stopping = worker("rest", 2, consumes=(), held={"rest": 3})
    assert slots(FLEET, [worker("rest"), stopping])["rest"] == 7
    assert unserved(FLEET, [stopping]) == ["urgent", "small", "rest"]


def test_a_worker_without_a_process_serves_nothing() -> None:
    assert unserved(FLEET, [worker("rest", concurrency=0)]) == ["urgent", "small", "rest"]


def test_an_entry_of_a_later_release_can_be_read() -> None:
    text = worker().model_dump_json()[:-1] + ', "gpus": 2}'
    assert LiveWorker.model_validate_json(text) == worker()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Exception | None]:
    """Looks at the registry; the last element says how the next one ends."""
    made: list[Exception | None] = [None]

    def read(_client: redis.Redis) -> list[LiveWorker]:
        outcome = made[-1]
        made.append(outcome)
        if outcome:
            raise outcome
        return []

    monkeypatch.setattr(live_workers, "read", read)
    monkeypatch.setattr(capacity, "write", lambda _engine, _wanted: [])
    return made


def test_it_looks_now_and_then_and_less_often_when_nobody_answers(looks) -> None:
    clock = Clock()
    follower = Capacity(FLEET, "redis://127.0.0.1:1/0", clock)
    for _ in range(3):
        follower.tick()
    assert len(looks) == 2, "one look"
    clock.now += capacity.INTERVAL
    looks.append(redis.ConnectionError("away"))
    follower.tick()
    made = len(looks)
    clock.now += capacity.INTERVAL
    follower.tick()
    assert len(looks) == made
    clock.now += capacity.AFTER_FAILURE
    follower.tick()
    assert len(looks) == made + 1


@pytest.mark.parametrize("error", [redis.ConnectionError("away"), ValueError("bug")])
def test_it_never_raises_and_says_so_once(looks, error: Exception, caplog) -> None:
    clock = Clock()
    follower = Capacity(FLEET, "redis://127.0.0.1:1/0", clock)
    looks.append(error)
    for _ in range(3):
        follower.tick()
        clock.now += capacity.AFTER_FAILURE
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "Pools keep their slots" in warnings[0].getMessage()
