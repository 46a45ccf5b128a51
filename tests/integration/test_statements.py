"""The statistics of statements: who may see them, and what they count."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from airflow_config import metadata
from deploy.local import postgres as pg
from deploy.local import statements
from deploy.local.instance import Instance, InstanceError
from deploy.local.site import Site
from tests.metadata_database import insert_run, insert_task
from tests.servers import PASSWORD, PostgresServer


@pytest.fixture
def instance(
    postgres: PostgresServer,
    metadata_template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Instance:
    """An instance on the tests' server, with Airflow's schema in its database."""
    with postgres.connect() as connection:
        connection.execute("DROP DATABASE airflow WITH (FORCE)")
    url = postgres.create_database("airflow", owner="airflow", template=metadata_template)
    pg.ensure_logins(postgres.port, PASSWORD, dict.fromkeys(pg.LOGINS, PASSWORD))
    metadata.grant(url)
    metadata.grant(url)
    made = Instance(tmp_path / "home", Site())
    monkeypatch.setattr(Instance, "port", lambda _self, _name: postgres.port)
    monkeypatch.setattr(Instance, "keys", dict.fromkeys(pg.LOGINS, PASSWORD))
    return made


def as_login(postgres: PostgresServer, database: str, login: str) -> psycopg.Connection:
    return psycopg.connect(postgres.url(database, login).replace("+psycopg", ""), autocommit=True)


def test_it_counts_statements_and_the_tasks_that_ended(instance, postgres) -> None:
    since = statements.forget(instance)
    with as_login(postgres, "airflow", "airflow") as connection:
        insert_run(connection, "r", "running")
        for number in range(4):
            insert_task(connection, f"t{number}", "r", None)
        connection.execute("UPDATE task_instance SET end_date = '2001-01-01' WHERE task_id = 't0'")
        ended = "UPDATE task_instance SET state = 'success', end_date = now() WHERE task_id = %s"
        for number in (1, 2):
            connection.execute(ended, [f"t{number}"])
    found = statements.top(instance, 1000)
    assert found.since == since
    assert found.tasks == 2
    line = next(s for s in found.statements if "now()" in s.statement and "end_date" in s.statement)
    assert (line.database, line.login, line.calls, line.rows) == ("airflow", "airflow", 2, 2)
    assert line.calls_per_task == 1
    assert line.ms_per_task == pytest.approx(line.mean_ms)
    totals = [statement.total_s for statement in found.statements]
    assert totals == sorted(totals, reverse=True)
    assert sum(statement.share or 0 for statement in found.statements) == pytest.approx(1)
    assert not [s for s in found.statements if s.login == pg.MONITOR]
    assert len(statements.top(instance, 2).statements) == 2


def test_without_a_task_nothing_is_told_for_each(instance) -> None:
    statements.forget(instance)
    found = statements.top(instance, 10)
    assert found.tasks == 0
    assert all(line.calls_per_task is None for line in found.statements)


def test_no_password_is_in_the_statistics(instance, postgres) -> None:
    secret = "open-sesame"
    pg.ensure_logins(postgres.port, PASSWORD, {**dict.fromkeys(pg.LOGINS, PASSWORD)})
    with postgres.connect() as connection:
        connection.execute(f"ALTER ROLE {pg.MONITOR} PASSWORD '{secret}'")
        connection.execute(f"ALTER ROLE {pg.MONITOR} PASSWORD '{PASSWORD}'")
    assert secret not in str(statements.top(instance, 10_000).statements)


@pytest.mark.parametrize("database", pg.DATABASES)
def test_the_monitor_sees_statistics_and_no_data(instance, postgres, database: str) -> None:
    denied = psycopg.errors.InsufficientPrivilege
    with as_login(postgres, database, pg.MONITOR) as monitor:
        assert monitor.execute("SELECT count(*) FROM monitoring.pg_stat_statements").fetchone()
        if database == "airflow":
            for words in ("task_id FROM task_instance", "* FROM dag_run", "* FROM connection"):
                with pytest.raises(denied):
                    monitor.execute(f"SELECT {words}")


@pytest.mark.parametrize("login", ["airflow", "airlane_owner", "airlane_worker"])
def test_nobody_else_enters_the_statistics(instance, postgres, login: str) -> None:
    with (
        as_login(postgres, pg.LOGINS[login][0], login) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT query FROM monitoring.pg_stat_statements")


def test_an_instance_of_an_older_version_is_told_to_start_anew(instance, monkeypatch) -> None:
    monkeypatch.setattr(Instance, "keys", {})
    with pytest.raises(InstanceError, match="Fix: airlane down, airlane up"):
        statements.top(instance, 1)
