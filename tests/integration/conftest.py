"""What integration tests share: databases of their own, `app` and Airflow's, and an Airflow API."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import psycopg
import pytest
import redis
from sqlalchemy import Engine

from airflow_config import metadata
from intake import database
from tests.airflow_double import AirflowDouble
from tests.app_database import AppDatabase
from tests.metadata_database import airflow_orm, migrate_airflow
from tests.servers import PostgresServer

_TEMPLATE = "app_template"
_METADATA_TEMPLATE = "metadata_template"
_numbers = count(1)


@pytest.fixture(scope="session")
def app_template(postgres: PostgresServer) -> str:
    """The name of a migrated database that is only cloned."""
    database.migrate(postgres.create_database(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture
def app_db(postgres: PostgresServer, app_template: str) -> AppDatabase:
    name = f"app_{next(_numbers)}"
    owner = postgres.create_database(name, template=app_template)
    database.grant(owner)
    return AppDatabase(
        owner=owner,
        worker=postgres.url(name, "airlane_worker"),
        intake=postgres.url(name, "airlane_intake"),
        relay=postgres.url(name, "airlane_relay"),
    )


@pytest.fixture
def worker_engine(app_db: AppDatabase) -> Iterator[Engine]:
    """The `app` database with the login that tasks have."""
    engine = database.engine(app_db.worker)
    yield engine
    engine.dispose()


@pytest.fixture
def intake_engine(app_db: AppDatabase) -> Iterator[Engine]:
    """The `app` database with the login that the listener has."""
    engine = database.engine(app_db.intake)
    yield engine
    engine.dispose()


@pytest.fixture
def relay_engine(app_db: AppDatabase) -> Iterator[Engine]:
    engine = database.engine(app_db.relay)
    yield engine
    engine.dispose()


@pytest.fixture
def owner_engine(app_db: AppDatabase) -> Iterator[Engine]:
    engine = database.engine(app_db.owner)
    yield engine
    engine.dispose()


@pytest.fixture
def events(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the events server."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the broker."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def executor(redis_url: str) -> Iterator[Any]:
    """An executor of airlane, not started: it sends and looks, and nothing wakes it."""
    from airflow_config.executor import AirlaneExecutor
    from tests.executors import celery_on

    with celery_on(redis_url):
        yield AirlaneExecutor(parallelism=8)


@pytest.fixture
def airflow() -> Iterator[AirflowDouble]:
    """An HTTP server that answers as Airflow's API does, and can be made to fail."""
    with AirflowDouble() as double:
        yield double


@pytest.fixture(scope="session")
def metadata_template(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with Airflow's schema and airlane's part, which is only cloned."""
    url = postgres.create_database(_METADATA_TEMPLATE, owner="airflow")
    migrate_airflow(url, tmp_path_factory.mktemp("airflow-migration"))
    metadata.migrate(url)
    return _METADATA_TEMPLATE


@pytest.fixture
def metadata_url(postgres: PostgresServer, metadata_template: str) -> str:
    """The address of a metadata database of the test's own."""
    name = f"metadata_{next(_numbers)}"
    return postgres.create_database(name, owner="airflow", template=metadata_template)


@pytest.fixture
def writer(metadata_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Another process that works on the metadata database; each statement commits."""
    with psycopg.connect(metadata_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


@pytest.fixture
def metadata_orm(metadata_url: str) -> Iterator[str]:
    """A metadata database of the test's own, to which Airflow's ORM in this process speaks."""
    with airflow_orm(metadata_url):
        yield metadata_url
