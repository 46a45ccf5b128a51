"""A connection that the server closed a moment ago is made anew, unnoticed."""

from __future__ import annotations

import select

import psycopg
import pytest
from sqlalchemy import create_engine, text

from airflow_config import fresh_connections


def test_a_connection_just_used_that_the_server_closed_is_made_anew(
    metadata_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_connections, "FRESH", 100_000.0)
    engine = create_engine(metadata_url, pool_pre_ping=True)
    fresh_connections.trust(engine)
    backend = text("SELECT pg_backend_pid()")
    with engine.connect() as connection:
        first = connection.scalar(backend)
        socket = connection.connection.driver_connection
    with engine.connect() as connection:
        assert connection.scalar(backend) == first
    with psycopg.connect(metadata_url.replace("+psycopg", "")) as other:
        other.execute("SELECT pg_terminate_backend(%s, 30000)", [first])
    assert select.select([socket], [], [], 30)[0]
    with engine.connect() as connection:
        assert connection.scalar(backend) != first
    engine.dispose()
