"""What integration tests of the intake share: an `app` database each, and an Airflow API."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from sqlalchemy import Engine

from intake import database
from tests.airflow_double import AirflowDouble
from tests.app_database import AppDatabase
from tests.servers import PostgresServer

_TEMPLATE = "app_template"
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
def airflow() -> Iterator[AirflowDouble]:
    """An HTTP server that answers as Airflow's API does, and can be made to fail."""
    with AirflowDouble() as double:
        yield double
