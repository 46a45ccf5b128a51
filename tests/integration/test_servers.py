"""The servers from wheels: who may enter, and what is kept."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import redis

from deploy.local import postgres as pg
from deploy.local import valkey
from deploy.local.ports import free_port, is_free
from tests.servers import PASSWORD, PostgresServer, serving


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory):
    """A PostgreSQL server with the access rules that an instance has."""
    folder = tmp_path_factory.mktemp("instance")
    port = free_port()
    assert pg.initialise(folder / "data", PASSWORD)
    assert not pg.initialise(folder / "data", PASSWORD), "an existing cluster must be kept"
    words = pg.command(folder / "data", port)
    with serving(words, folder / "log", lambda: pg.answers(port, PASSWORD)):
        passwords = {login: f"of-{login}" for login in pg.LOGINS}
        pg.ensure_logins(port, PASSWORD, passwords)
        pg.ensure_logins(port, PASSWORD, passwords)
        yield PostgresServer(port)


@pytest.mark.parametrize("login", pg.LOGINS)
@pytest.mark.parametrize("database", [*pg.DATABASES, "postgres"])
def test_a_login_enters_its_own_databases_only(
    instance: PostgresServer, login: str, database: str
) -> None:
    address = f"host=127.0.0.1 port={instance.port} user={login} password=of-{login}"
    if database in pg.LOGINS[login]:
        with psycopg.connect(f"{address} dbname={database}") as connection:
            assert connection.execute("SELECT current_user").fetchone() == (login,)
    else:
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            psycopg.connect(f"{address} dbname={database}")


def test_postgres_listens_on_loopback_only(instance: PostgresServer) -> None:
    with instance.connect() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)


def test_a_valkey_without_login_refuses_and_keeps_no_password(tmp_path: Path) -> None:
    port = free_port()
    config = valkey.write_config(
        tmp_path / "events",
        port,
        logins={"producer": ["~signups", "+xadd", "+ping"]},
        passwords={"producer": "open-sesame"},
        fsync="always",
    )
    url = valkey.url(port, "producer", "open-sesame")
    words = [str(valkey.binary()), str(config)]
    with serving(words, tmp_path / "log", lambda: valkey.answers(url)):
        with redis.Redis.from_url(url) as client:
            assert client.xadd("signups", {"a": "b"})
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.xadd("other", {"a": "b"})
        with (
            redis.Redis(port=port) as anyone,
            pytest.raises(redis.exceptions.AuthenticationError),
        ):
            anyone.ping()
    texts = [p.read_text() for p in (tmp_path / "events").glob("*") if p.is_file()]
    assert not [t for t in texts if "open-sesame" in t]
    assert config.stat().st_mode & 0o777 == 0o600


def test_ports() -> None:
    assert is_free(free_port())
