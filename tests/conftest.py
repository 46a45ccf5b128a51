"""Real servers for the tests: one PostgreSQL and one Valkey for the session, on free ports."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

# Importing Airflow makes folders below its home; before anything imports it, and never the user's.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airlane-tests-")

import hypothesis
import pytest
import redis

from deploy.local import postgres as pg
from deploy.local import valkey
from deploy.local.ports import free_port
from tests.servers import PASSWORD, PostgresServer, serving

# Also when tests were only collected; before Airflow is imported, so that it ends first.
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("airlane", deadline=None)
hypothesis.settings.load_profile("airlane")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server with airlane's logins (password "x"), which may enter any database."""
    folder = tmp_path_factory.mktemp("postgres")
    port = free_port()
    pg.initialise(folder / "data", PASSWORD)
    hba = folder / "data" / "pg_hba.conf"
    hba.write_text("host all all 127.0.0.1/32 scram-sha-256\n")
    ready = lambda: pg.answers(port, PASSWORD)  # noqa: E731 - a condition, as wait_until takes it
    with serving(pg.command(folder / "data", port), folder / "log", ready):
        pg.ensure_logins(port, PASSWORD, dict.fromkeys(pg.LOGINS, PASSWORD))
        yield PostgresServer(port)


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey server whose default user needs no password."""
    folder = tmp_path_factory.mktemp("valkey")
    port = free_port()
    config = valkey.write_config(folder, port, logins={}, passwords={}, fsync="always")
    (folder / "users.acl").write_text("user default on nopass ~* &* +@all\n")
    url = f"redis://127.0.0.1:{port}/0"
    words = [str(valkey.binary()), str(config)]
    with serving(words, folder / "log", lambda: valkey.answers(url)):
        yield url


@pytest.fixture
def redis_url(valkey_url: str) -> str:
    """The Valkey server, emptied."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    return valkey_url
