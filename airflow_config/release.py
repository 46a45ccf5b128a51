"""The release that this code is: shown by workers, and on every run of a fleet."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

#: Set where releases are shown on runs: on a fleet.
VARIABLE = "AIRLANE_RELEASE"
#: Characters of a tag that Airflow's database takes.
_TAG = 100


def current() -> str:
    """Return the version of the release that this process runs."""
    return version("airlane")


def shown() -> str:
    """Return the release to show on runs; empty where there is only one."""
    return os.environ.get(VARIABLE, "")


def mark(dag: Any) -> None:
    """Tag a DAG with its release, so that each release makes a version of it.

    Airflow makes no new version of a DAG whose content is the same, but rewrites the release of
    the old one (models/serialized_dag.py:699, 3.3.2): runs of long ago would show the newest.
    """
    if name := shown():
        dag.tags.add(f"release {name}"[:_TAG])
