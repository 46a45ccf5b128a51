"""Where an instance lives and what its parts are reached by: paths, addresses, keys.

An instance is one folder, `AIRLANE_HOME`. Whoever starts it (the local stack, a role of the
fleet) resolves its `Place` once and derives every setting from it and from queues.yaml.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

#: The checkout (or the release) that this code runs from.
ROOT = Path(__file__).resolve().parent.parent


def home() -> Path:
    """Return the instance's folder: `AIRLANE_HOME`, by default `.airlane` in the checkout."""
    return Path(os.environ.get("AIRLANE_HOME") or ROOT / ".airlane").expanduser().resolve()


def queues_file() -> Path:
    """Return the path of queues.yaml: `AIRLANE_QUEUES`, by default the checkout's."""
    return Path(os.environ.get("AIRLANE_QUEUES") or ROOT / "queues.yaml").expanduser().resolve()


def models_dir() -> Path:
    """Return the folder of the risk models: `AIRLANE_MODELS`, by default the instance's."""
    return Path(os.environ.get("AIRLANE_MODELS") or home() / "models").expanduser().resolve()


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the settings of one instance depend on, besides queues.yaml.

    Parameters
    ----------
    home, root, queues_file
        The instance's folder, the code's folder, the queue model's file.
    airflow_home
        Folder of the generated Airflow settings.
    logs
        Folder of the task logs.
    airflow_db_url
        SQLAlchemy address of the metadata database, with login.
    broker_url, result_url
        Redis addresses of Celery's messages and results, with login.
    api_url, api_port
        The API server's address without a slash at its end, and its port on loopback.
    fernet_key, jwt_secret, api_secret_key
        Keys that Airflow's parts share; never shown in a repr.
    spread
        What else a fleet needs; None on one machine.
    """

    home: Path
    root: Path
    queues_file: Path
    airflow_home: Path
    logs: Path
    airflow_db_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    result_url: str = field(repr=False)
    api_url: str
    api_port: int
    fernet_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    api_secret_key: str = field(repr=False)
    spread: Spread | None = None


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What else settings depend on where the parts are on several hosts.

    Parameters
    ----------
    ca_file
        The certificate authority of the fleet's servers: PostgreSQL, Redis, the API's proxy.
    airflow_db_async_url
        The metadata database's address for Airflow's other driver, asyncpg, which writes TLS
        otherwise than `airflow_db_url`.
    log_port
        Where each worker host serves the logs of tasks that run.
    """

    ca_file: Path
    airflow_db_async_url: str = field(repr=False)
    log_port: int


def for_psycopg(address: str) -> str:
    """Return a database's address as psycopg takes it, from that for SQLAlchemy."""
    return address.replace("+psycopg", "", 1)
