"""How the tasks of airlane's queues are run on a worker: `[sdk] coordinators`.

Airflow asks a coordinator to execute each task of the queues that it is set for. A class that
can't be imported would fail all of them, so nothing here depends on more than the base class;
what can't be used is left out, loudly, and the task runs as Airflow runs it by default.
"""

from __future__ import annotations

import logging
import os
import time
from functools import cache
from typing import Any

from airflow.sdk.execution_time.coordinator import BaseCoordinator

from airflow_config import queues

log = logging.getLogger(__name__)


@cache
def runtime() -> Any | None:
    """Return `workers.task_runtime` when it fits the installed Airflow, or None."""
    try:
        from workers import task_runtime  # noqa: PLC0415 - it may not fit

        misfits = task_runtime.misfits()
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
    """Runs each task in a process of its own, forked from a template of this one."""

    def __init__(self) -> None:
        from workers.dag_costs import Costs  # noqa: PLC0415 - see above
        from workers.kept_connection import Connections  # noqa: PLC0415

        fleet = queues.load()
        self._connections = Connections()
        self._memory = {name: queue.task_memory for name, queue in fleet.queues.items()}
        self._urgent = {queue.name for queue in fleet.urgent}
        self._costs = Costs()
        # Tasks of the default queue may have an API server of their own.
        server = os.environ.get("AIRLANE_BATCH_API")
        self._servers = {fleet.default_queue.name: server} if server else {}
        # A worker that was started with a positive niceness gives way to others on its machine.
        # Only tasks of the default queue do so altogether: lent capacity is for urgent ones.
        self._background = fleet.default_queue.name if os.nice(0) > 0 else None
        self._bundles: dict[str, Any] = {}
        self._template: Any = None
        self._others: frozenset[int] = frozenset()

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

        words = {
            "what": what,
            "dag_rel_path": dag_rel_path,
            "bundle_info": bundle_info,
            "logger": logger,
            "subprocess_logs_to_stdout": subprocess_logs_to_stdout,
            "sentry_integration": sentry_integration,
        }
        warm = runtime()
        if warm is None:
            process = ActivitySubprocess.start(client=client, **words)
            return self.ExecutionResult(process.wait(), process.final_state)
        try:
            server = self._servers.get(what.queue)
            words["client"] = self._connections.client_like(client, server)
            process = self._begin(warm, words)
            exit_code = process.wait()
        except BaseException:
            # In the midst of something: the next task gets new ones.
            self._connections.forget()
            self._drop_template()
            raise
        if exit_code == 0:
            self._refresh(bundle_info, os.fspath(dag_rel_path), what.queue in self._urgent)
        return self.ExecutionResult(exit_code, process.final_state)

    def get_ready(self) -> None:
        """Fork what forks the processes of tasks, so that the first one need not wait for it."""
        from workers import dag_costs, leftovers  # noqa: PLC0415

        warm = runtime()
        if warm is None or (self._template is not None and self._template.owner == os.getpid()):
            return
        dag_costs.METER.renew()
        leftovers.adopt()
        self._others = leftovers.present()
        self._template = warm.template()

    def _begin(self, warm: Any, words: dict[str, Any]) -> Any:
        """Start a task; once more when what forks its process has ended, whyever."""
        from workers import dag_costs, leftovers, spare  # noqa: PLC0415

        dag_costs.METER.take()  # what a task that failed has left there
        queue = words["what"].queue
        words["memory"] = self._memory.get(queue)
        words["background"] = queue == self._background
        self.get_ready()
        try:
            return warm.WarmSubprocess.begin(self._template, others=leftovers.present(), **words)
        except spare.LostError as error:
            log.warning("Forking a new template of task processes: %s", error)
        self._renew()
        return warm.WarmSubprocess.begin(self._template, others=leftovers.present(), **words)

    def _drop_template(self) -> None:
        """End the template whatever it is at, with a task's process that nobody supervises."""
        from workers import leftovers  # noqa: PLC0415

        if self._template is not None:
            self._template = None
            leftovers.end(self._others)

    def _renew(self) -> None:
        """Have another template fork the next tasks' processes; to be called between two tasks."""
        from workers import leftovers  # noqa: PLC0415

        self._template.end()
        self._template = None
        leftovers.end(self._others)  # its spare comes to this process
        self.get_ready()

    def _refresh(self, bundle_info: Any, relative: str, urgent: bool) -> None:
        """Parse a file anew that the task had to parse: its state is told, nobody waits."""
        from workers import dag_costs, dag_warmup  # noqa: PLC0415

        seconds = dag_costs.METER.take()
        if bundle_info.version is not None or not seconds:
            return
        self._costs.pay(relative, seconds)
        if not urgent and not self._costs.is_due(relative):
            return
        start = time.monotonic()
        try:
            bundle = self._bundles.get(bundle_info.name)
            if bundle is None:
                bundle = self._bundles[bundle_info.name] = dag_warmup.find_bundle(bundle_info.name)
            if dag_warmup.refresh(bundle, relative):
                if self._template is not None:
                    self._renew()
                self._costs.took_in(relative, time.monotonic() - start)
        except Exception:
            log.exception("Could not parse %s anew; its tasks start later for it", relative)
