# Airflow reads it when it is imported.

import pytest
from airflow.models.pool import Pool
from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import Session

from airflow_config import queues
from airflow_config.pools import desired_pools, ensure_pools

MODEL = """\
queues:
  urgent: {priority: 9, task_timeout: 30s, description: People wait.}
  rest: {priority: 1, default: true, task_timeout: 2h}
workers:
  urgent: {home: urgent, concurrency: 8}
  rest: {home: rest, lends_to: [urgent], concurrency: 4, local: 2}
"""


@pytest.fixture
def fleet():
    return queues.read(MODEL)


@pytest.fixture
def session():
    engine = create_engine("sqlite://")
    Pool.__table__.create(engine)
    with Session(engine) as session:
        session.add(Pool(pool="default_pool", slots=128, description="", include_deferred=False))
        session.commit()
        yield session


def slots(session):
    return dict(session.execute(select(Pool.pool, Pool.slots)).all())


def test_a_pool_for_each_queue(fleet):
    assert [(pool.name, pool.slots) for pool in desired_pools(fleet)] == [
        ("urgent", 16),
        ("rest", 8),
    ]
    assert desired_pools(fleet)[0].description == "Queue urgent, by airlane. People wait."


def test_makes_what_is_missing_and_leaves_the_rest(fleet, session):
    assert ensure_pools(fleet, session) == [
        "pool urgent: made with 16 slots",
        "pool rest: made with 8 slots",
    ]
    assert slots(session) == {"default_pool": 128, "urgent": 16, "rest": 8}


def test_puts_right_what_changed(fleet, session):
    ensure_pools(fleet, session)
    session.scalars(select(Pool).where(Pool.pool == "rest")).one().include_deferred = True
    assert ensure_pools(fleet, session, {"urgent": 1, "rest": 1}) == [
        "pool urgent: 16 -> 12 slots",
        "pool rest: 8 -> 4 slots",
        "pool rest: description and kind put right",
    ]
    assert slots(session) == {"default_pool": 128, "urgent": 12, "rest": 4}


def test_keeps_the_slots_that_follow_the_live_workers(fleet, session):
    ensure_pools(fleet, session, {"urgent": 1, "rest": 1})
    before = slots(session)
    assert ensure_pools(fleet, session, keep_slots=True) == []
    assert slots(session) == before


def test_writes_nothing_when_nothing_changed(fleet, session):
    ensure_pools(fleet, session)
    session.commit()
    statements = []
    event.listen(
        session.get_bind(),
        "before_cursor_execute",
        lambda *words: statements.append(words[2].split()[0]),
    )
    assert ensure_pools(fleet, session) == []
    session.commit()
    assert set(statements) == {"SELECT"}
