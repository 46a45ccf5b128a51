"""Command lines of the parts, the same on one machine and on a fleet.

Workers' are in `workers.command`, because they follow from queues.yaml.
"""

from __future__ import annotations

import sys
from pathlib import Path

#: Airflow's command, by a module that puts a short way for the calls of tasks before it.
_API_SERVER = (sys.executable, "-m", "airflow_config.execution_api_server", "api-server")
#: What `--apps execution` sets, too late for a module that is loaded before the command.
ONLY_EXECUTION = {"AIRFLOW_API_APPS": "execution"}
#: One task, one core: a model must not start a thread for each.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

_CELERY_APP = "airflow.providers.celery.executors.celery_executor:app"
_JOBS = {
    # Task logs of these two are read where they are written.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
#: The parts that keep a heartbeat in the metadata database.
JOBS = tuple(_JOBS)


def airflow(*words: str) -> list[str]:
    """Return a command line of Airflow's."""
    return [sys.executable, "-m", "airflow", *words]


def job(name: str) -> list[str]:
    """Return the command line of the scheduler, the DAG processor or the triggerer."""
    return airflow(*_JOBS[name])


def api_server(port: int, *, only_execution: bool = False, proxied: bool = False) -> list[str]:
    """Return the command line of an API server, on loopback.

    Parameters
    ----------
    port
        Of loopback.
    only_execution
        Serve the calls of tasks alone.
    proxied
        A proxy on this machine says who calls and how.
    """
    apps = ("--apps", "execution") if only_execution else ()
    proxy = ("--proxy-headers",) if proxied else ()
    return [*_API_SERVER, *apps, "--host", "127.0.0.1", "--port", str(port), *proxy]


def relay(heartbeat: Path) -> list[str]:
    """Return the command line of the relay, which touches `heartbeat` after each pass."""
    return [sys.executable, "-m", "intake.relay", "--heartbeat", str(heartbeat)]


def flower(config: Path) -> list[str]:
    """Return Flower's command line."""
    return [sys.executable, "-m", "celery", "-A", _CELERY_APP, "flower", f"--conf={config}"]
