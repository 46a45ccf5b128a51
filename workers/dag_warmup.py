"""DAG files are parsed in the Celery parent, so that every task's process has them from its fork.

Only files whose tasks use the worker's queues, only as many as the time allows, and only those
that proved harmless in a process of their own (`workers.dag_probe`). Whatever is left out is
parsed by the task processes, as Airflow does by default.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.dag_processing.importers import get_importer_registry
from airflow.sdk.configuration import conf

from workers import dag_probe
from workers.dag_cache import CACHE, MAX_FILES, DagCache

log = logging.getLogger(__name__)

#: Airflow's parser handles these and does not let go of them. With the first one caught, a crash
#: would loop for ever.
_TAKEN_SIGNALS = (signal.SIGSEGV, signal.SIGALRM)


def arguments(bundle: Any) -> dict[str, Any]:
    """Return what the task runner gives its parser beside the file (read from Airflow 3.3.2)."""
    return {
        "safe_mode": False,
        "load_op_links": False,
        "bundle_path": bundle.path,
        "bundle_name": bundle.name,
    }


def find_bundle(name: str) -> Any:
    """Return a bundle by its name, ready to be read."""
    bundle = DagBundlesManager().get_bundle(name)
    bundle.initialize()
    return bundle


def parse(cache: DagCache, bundle: Any, path: str) -> Any:
    """Parse a file as the task runner would, and keep it."""
    handlers = {number: signal.getsignal(number) for number in _TAKEN_SIGNALS}
    try:
        return cache.parse(BundleDagBag, path, **arguments(bundle))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def warm_up(queues: Collection[str], cache: DagCache = CACHE) -> None:
    """Parse the DAG files that a worker's tasks come from.

    Parameters
    ----------
    queues
        The queues that the worker serves.
    cache
        Where to keep them.
    """
    for bundle in DagBundlesManager().get_all_dag_bundles():
        if bundle.supports_versioning and not _is_unbound():
            continue  # a task names the version that it needs; there is none to prepare
        try:
            bundle.initialize()
            _warm_up_bundle(bundle, queues, cache)
        except Exception:
            log.exception("Could not parse DAG files of bundle %s beforehand", bundle.name)


def _is_unbound() -> bool:
    """Tell whether tasks come from the newest version of their bundle, whichever runs name."""
    return bool(conf.getboolean("dag_processor", "disable_bundle_versioning", fallback=False))


def _warm_up_bundle(bundle: Any, queues: Collection[str], cache: DagCache) -> None:
    start = time.monotonic()
    folder = Path(bundle.path)
    paths = sorted(get_importer_registry().list_dag_files(str(folder), safe_mode=True))
    paths = paths[:MAX_FILES]
    for finding in dag_probe.probe(paths, lambda path: parse(DagCache(), bundle, path)):
        if not _is_refused(finding, folder, cache) and not finding.queues.isdisjoint(queues):
            parse(cache, bundle, finding.path)
    log.info(
        "Parsed %d of %d DAG files beforehand in %.2f s",
        len(cache),
        len(paths),
        time.monotonic() - start,
    )


def _is_refused(finding: dag_probe.Finding, folder: Path, cache: DagCache) -> bool:
    if finding.fault is None:
        return False
    cache.refuse(finding.path)
    log.warning(
        "%s is parsed by each of its tasks, which start later for it: %s",
        dag_probe.shown(finding.path, folder),
        finding.fault,
    )
    return True


def refresh(bundle: Any, relative: str, cache: DagCache = CACHE) -> bool:
    """Parse a file anew when it changed, and tell whether that was so.

    To be called in a Celery process, after a task that came from the file. That task's process has
    parsed it already: the change cost no task, and costs the next ones no time.
    """
    folder = Path(bundle.path)
    path = str(Path(folder, relative))
    if not cache.wants(path):
        return False
    (finding,) = dag_probe.probe([path], lambda path: parse(DagCache(), bundle, path))
    if _is_refused(finding, folder, cache):
        return False
    parse(cache, bundle, path)
    log.info("Parsed %s anew", relative)
    return True
