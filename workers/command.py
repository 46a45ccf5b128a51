"""Names and command lines of workers: one Celery worker serves one worker class."""

from __future__ import annotations

import re
import sys

from airflow_config.queues import Fleet

_PART = re.compile(r"worker-([a-z][a-z0-9_]*?)(?:-(\d+))?")


def part_name(class_name: str, number: int = 1) -> str:
    """Return the part's name: `worker-CLASS`, and `worker-CLASS-2` for a second one."""
    return f"worker-{class_name}" if number == 1 else f"worker-{class_name}-{number}"


def class_of_part(part: str) -> str | None:
    """Return the class that a part's name tells, or None when it is no worker."""
    found = _PART.fullmatch(part)
    return found[1] if found else None


def node_name(part: str, host: str = "%h") -> str:
    """Return the Celery node name of a worker: `CLASS@host`, with its number when it has one."""
    return f"{part.removeprefix('worker-')}@{host}"


def worker_command(fleet: Fleet, class_name: str, part: str | None = None) -> list[str]:
    """Return the command line of a worker.

    Parameters
    ----------
    fleet
        The queue model.
    class_name
        A worker class of it.
    part
        The part's name, when there are several of the class on a machine.

    Raises
    ------
    KeyError
        When the model has no such class.
    """
    worker = fleet.workers[class_name]
    return [
        *(sys.executable, "-m", "airflow", "celery", "worker"),
        *("--queues", ",".join(fleet.consumes(class_name))),
        *("--concurrency", str(worker.concurrency)),
        *("--celery-hostname", node_name(part or part_name(class_name))),
        # Airflow's log server listens on every interface and has no option for the address;
        # on one machine the API server reads the files.
        "--skip-serve-logs",
        # The workers need nothing of each other.
        *("--without-gossip", "--without-mingle"),
    ]
