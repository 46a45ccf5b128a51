"""Airflow's metadata database with its real schema, and airlane's part in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def migrate_airflow(url: str, home: Path) -> None:
    """Run `airflow db migrate` in a process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    words = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@contextmanager
def airflow_orm(url: str) -> Iterator[None]:
    """Have Airflow's ORM in this process speak to `url` until the block ends."""
    from airflow import settings
    from airflow.configuration import conf

    def speak_to(address: str) -> None:
        conf.set("database", "sql_alchemy_conn", address)
        settings.dispose_orm(do_log=False)
        settings.configure_vars()
        settings.configure_orm()

    before = conf.get("database", "sql_alchemy_conn")
    speak_to(url)
    try:
        yield
    finally:
        speak_to(before)
