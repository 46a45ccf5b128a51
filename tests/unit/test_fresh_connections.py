"""Connections that were used a moment ago are not tested; all others are."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.pool import QueuePool

from airflow_config import fresh_connections


@pytest.fixture
def tested(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Tests of connections, as they come."""
    found: list[Any] = []

    def do_ping(_dialect: Any, connection: Any) -> bool:
        found.append(connection)
        return True

    monkeypatch.setattr(SQLiteDialect_pysqlite, "do_ping", do_ping)
    return found


@pytest.fixture
def engine(tested: list[Any]) -> Engine:
    return create_engine("sqlite://", poolclass=QueuePool, pool_pre_ping=True)


def use(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def test_a_connection_just_used_is_not_tested(
    engine: Engine, tested: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_connections, "FRESH", 100_000.0)
    fresh_connections.trust(engine)
    for _ in range(3):
        use(engine)
    assert tested == []


def test_a_connection_not_used_for_long_is_tested(
    engine: Engine, tested: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh_connections.trust(engine)
    use(engine)
    monkeypatch.setattr(fresh_connections, "FRESH", 0.0)
    use(engine)
    assert len(tested) == 1


def test_trusting_twice_is_trusting_once(engine: Engine) -> None:
    fresh_connections.trust(engine)
    first = engine.dialect.do_ping
    fresh_connections.trust(engine)
    assert engine.dialect.do_ping is first
