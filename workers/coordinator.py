"""How the tasks of airlane's queues are run on a worker: `[sdk] coordinators`.

Airflow asks a coordinator to execute each task of the queues that it is set for. A class that
can't be imported would fail all of them, so nothing here depends on more than the base class;
what can't be used is left out, loudly, and the task runs as Airflow runs it by default.
"""

from __future__ import annotations

import logging
import os
from functools import cache, partial
from typing import Any

from airflow.sdk.execution_time.coordinator import BaseCoordinator

from airflow_config import queues

log = logging.getLogger(__name__)


@cache
def runtime() -> Any | None:
    """Return `workers.task_runtime` when it fits the installed Airflow, or None."""
    try:
        from workers import task_runtime  # noqa: PLC0415 - it may not fit

        misfits = list(task_runtime.misfits())
    except Exception as error:
        misfits = [f"{type(error).__name__}: {error}"]
    if not misfits:
        task_runtime.prepare()
        return task_runtime
    log.error(
        "Tasks run as Airflow runs them by default, slower: workers/task_runtime.py does not fit "
        "the installed Airflow. Fix: read it anew against what differs:\n  %s",
        "\n  ".join(misfits),
    )
    return None


class WarmCoordinator(BaseCoordinator):
    """Runs each task in a process of its own, forked from this one."""

    def __init__(self) -> None:
        from workers.kept_connection import Connections  # noqa: PLC0415 - see above

        self._connections = Connections()
        self._memory = {name: queue.task_memory for name, queue in queues.load().queues.items()}
        self._bundles: dict[str, Any] = {}
        self._process = 0

    def execute_task(
        self,
        *,
        what: Any,
        dag_rel_path: Any,
        bundle_info: Any,
        client: Any,
        logger: Any = None,
        sentry_integration: str = "",
        subprocess_logs_to_stdout: bool,
        **_: Any,
    ) -> BaseCoordinator.ExecutionResult:
        """Run a task to its end."""
        from airflow.sdk.execution_time.supervisor import ActivitySubprocess  # noqa: PLC0415

        warm = runtime()
        extra: dict[str, Any] = {}
        if warm is not None:
            client = self._connections.client_like(client)
            memory = self._memory.get(what.queue)
            extra = {
                "target": partial(warm.task_main, memory),
                "others": self._settle(),
                "memory": memory,
            }
        try:
            process = (warm.WarmSubprocess if warm else ActivitySubprocess).start(
                dag_rel_path=dag_rel_path,
                what=what,
                client=client,
                logger=logger,
                bundle_info=bundle_info,
                subprocess_logs_to_stdout=subprocess_logs_to_stdout,
                sentry_integration=sentry_integration,
                **extra,
            )
            exit_code = process.wait()
        except BaseException:
            self._connections.forget()
            raise
        if warm is not None and exit_code == 0:
            self._refresh(bundle_info, os.fspath(dag_rel_path))
        return self.ExecutionResult(exit_code, process.final_state)

    def _settle(self) -> frozenset[int]:
        """Return the processes below this one that are no task's; the first time, adopt orphans."""
        from workers import leftovers  # noqa: PLC0415

        if self._process != os.getpid():
            leftovers.adopt()
            self._process = os.getpid()
        return leftovers.present()

    def _refresh(self, bundle_info: Any, relative: str) -> None:
        """Parse the task's DAG file anew when it changed: its state is told, nobody waits."""
        from workers import dag_warmup  # noqa: PLC0415

        if bundle_info.version is not None:
            return
        try:
            bundle = self._bundles.get(bundle_info.name)
            if bundle is None:
                bundle = self._bundles[bundle_info.name] = dag_warmup.find_bundle(bundle_info.name)
            dag_warmup.refresh(bundle, relative)
        except Exception:
            log.exception("Could not parse %s anew; its tasks start later for it", relative)
