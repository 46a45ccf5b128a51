"""Airflow's application with the short way before it, and its database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.execution_api_calls import Server
from tests.metadata_database import insert_dag


@pytest.fixture(scope="module")
def application() -> Iterator[Any]:
    from airflow.api_fastapi.app import create_app
    from airflow.configuration import conf

    conf.set("api_auth", "jwt_secret", "s" * 64)
    yield create_app(apps="execution")
    conf.remove_option("api_auth", "jwt_secret")


@pytest.fixture
def server(application: Any, metadata_orm: str) -> Server:
    return Server(application, metadata_orm.replace("+psycopg", ""))


@pytest.fixture
def writer(writer: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    insert_dag(writer, "d")
    return writer
