"""A warm start: modules are imported once, in the parent from which every task is forked.

Airflow runs each task in a process forked from a Celery process. What the parent has imported
costs a task nothing; what it has not, every task pays for (140 ms to 400 ms with a Redis result
backend, see docs/why).
"""

from __future__ import annotations

import gc
import importlib
import logging
import time
from collections.abc import Collection, Iterable

from celery.signals import import_modules, worker_process_init, worker_ready

from workers import huge_pages

log = logging.getLogger(__name__)

#: What Airflow's supervisor and task runner import after the fork (read from 3.3.2), and what
#: the project's own tasks need.
ALWAYS = (
    "airflow.dag_processing.bundles.local",
    "airflow.dag_processing.bundles.manager",
    "airflow.dag_processing.dagbag",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.operators.python",
    "airflow.sdk.definitions.asset.metadata",
    "airflow.sdk.definitions.connection",
    "airflow.sdk.definitions.decorators.condition",
    "airflow.sdk.definitions.decorators.setup_teardown",
    "airflow.sdk.definitions.decorators.task_group",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.sdk.execution_time.timeout",
    "airflow.sdk.api.client",
    "airflow.sdk.log",
    "airflow.utils.log.file_task_handler",
    "celery.backends.redis",
    "httpx",
    "jinja2.ext",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
)


def import_all(names: Iterable[str]) -> list[str]:
    """Import modules by name; return those that could not be imported, each with its reason.

    A module that is missing costs speed, not correctness: the worker starts without it, and
    says so.
    """
    failed = []
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            failed.append(f"{name} ({type(error).__name__}: {error})")
    return failed


def connect(names: Iterable[str], queues: Collection[str] = ()) -> None:
    """Have the Celery parent warm up when it starts, before it forks.

    Parameters
    ----------
    names
        Modules to import beside `ALWAYS`.
    queues
        Queues whose DAG files to parse.
    """
    modules = (*ALWAYS, *names)

    def warm_up(**_: object) -> None:
        start = time.monotonic()
        failed = import_all(modules)
        log.info("Preloaded %d modules in %.2f s", len(modules), time.monotonic() - start)
        for line in failed:
            log.warning("Could not preload %s", line)
        try:
            prepare_tasks(queues)
        except Exception:
            log.exception("Could not prepare for tasks; they start later for it")
        # It lives for ever: out of the collector's sight, children need not copy its pages.
        gc.collect()
        gc.freeze()
        huge_pages.use()
        # Airflow's provider undoes it then, but children are forked later too, for those that end.
        # Connected only now, to come after the provider's. Without a collection, which would
        # write to all pages, so that this process had its own of each (90 MB).
        worker_ready.connect(refreeze, weak=False)

    def get_ready(**_: object) -> None:
        try:
            get_coordinators_ready(queues)
        except Exception:
            log.exception("Could not prepare for tasks; the first one starts later for it")

    import_modules.connect(warm_up, weak=False)
    worker_process_init.connect(get_ready, weak=False)


def prepare_tasks(queues: Collection[str]) -> None:
    """Make what every task needs and none changes: parsed DAG files, the coordinator."""
    from airflow.sdk.api import client  # noqa: PLC0415 - takes long: only in a worker
    from airflow.sdk.execution_time.coordinator import get_coordinator_manager  # noqa: PLC0415

    from workers import coordinator, dag_warmup  # noqa: PLC0415

    # Reads the machine's certificates (20 ms), and is kept by Airflow for the process.
    client.Client._get_ssl_context_cached(client.API_SSL_CA_FILE_PATH, client.API_SSL_CERT_PATH)
    for queue in queues:
        get_coordinator_manager().for_queue(queue)
    coordinator.runtime()
    dag_warmup.warm_up(queues)


def get_coordinators_ready(queues: Collection[str]) -> None:
    """Have the coordinators of queues prepare a Celery process for its first task."""
    from airflow.sdk.execution_time.coordinator import get_coordinator_manager  # noqa: PLC0415

    from workers.coordinator import WarmCoordinator  # noqa: PLC0415

    for queue in queues:
        found = get_coordinator_manager().for_queue(queue)
        if isinstance(found, WarmCoordinator):
            found.get_ready()


def refreeze(**_: object) -> None:
    """Take what is there now out of the collector's sight."""
    gc.freeze()
