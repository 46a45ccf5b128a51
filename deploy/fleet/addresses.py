"""Addresses of a fleet's servers with login and TLS, as each driver wants them written."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from deploy.fleet.site import Database, Redis


def _netloc(host: str, port: int) -> str:
    # IPv6
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def postgres(server: Database, database: str, login: str, password: str, ca: Path) -> str:
    """Return a database's address for SQLAlchemy with psycopg.

    The server must have a certificate of the fleet's authority for the very name that is called.
    """
    options = urlencode({"sslmode": "verify-full", "sslrootcert": str(ca)}, safe="/")
    where = _netloc(server.host, server.port)
    return f"postgresql+psycopg://{login}:{password}@{where}/{database}?{options}"


def postgres_async(server: Database, database: str, login: str, password: str) -> str:
    """Return a database's address for SQLAlchemy with asyncpg.

    It knows `ssl` in the place of `sslmode`, and takes the authority from the environment alone
    (`PGSSLROOTCERT`; asyncpg/connect_utils.py).
    """
    where = _netloc(server.host, server.port)
    return f"postgresql+asyncpg://{login}:{password}@{where}/{database}?ssl=verify-full"


def redis(server: Redis, login: str, password: str, ca: Path) -> str:
    """Return a Redis server's address.

    kombu, Celery's result backend and redis-py all take these two options from it, and compare
    the certificate's name by default.
    """
    options = urlencode({"ssl_cert_reqs": "required", "ssl_ca_certs": str(ca)}, safe="/")
    return f"rediss://{login}:{password}@{_netloc(server.host, server.port)}/0?{options}"
