"""Airflow's supervisor of a task, with what a warm worker does differently.

The one module that touches what Airflow does not promise to keep: `ActivitySubprocess` and the
names by which its task runner finds a parser, read from Airflow 3.3.2. `misfits` compares the
source of what is relied on with what was read; the coordinator runs Airflow's own class instead
when anything differs.

What is different:

- The end of a task's process wakes its supervisor. Airflow's waits for the process's pipes only;
  when they are closed before the process can be reaped, it waits for nothing, for
  `[workers] min_heartbeat_interval` (supervisor.py:1170).
- No heartbeat right after the start, which was one (supervisor.py:1393).
- A DAG file that was parsed before the fork, and has not changed since, is not parsed again.
- What a task leaves behind is ended with it.
- Decoders of messages and the like are made once, before the fork (10 ms of CPU per task), and
  setting up the log empties the caches of all loggers once instead of 70 times (5 ms).
"""

from __future__ import annotations

import functools
import importlib
import logging
import operator
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs
from airflow.dag_processing import dagbag
from airflow.sdk.execution_time import comms, supervisor, task_runner
from pydantic import JsonValue, TypeAdapter

from airflow_config import sources
from workers import leftovers, memory
from workers.dag_cache import CACHE

#: The version that this was read from.
AIRFLOW = "3.3.2"

#: What is overridden, called or replaced -> the first digits of its source's SHA-256.
RELIED_ON = {
    "airflow.sdk.execution_time.supervisor": {
        "WatchedSubprocess.start": "bf0ee2e40b8558a6",
        "WatchedSubprocess._service_subprocess": "42a762c7c8aa4ea5",
        "WatchedSubprocess._check_subprocess_exit": "dc039d1f36e9b6cd",
        "ActivitySubprocess.start": "3b7c00d9ab984ddf",
        "ActivitySubprocess._on_child_started": "c1810e9d6d095987",
        "ActivitySubprocess.wait": "45b8879d9105584e",
        "ActivitySubprocess._monitor_subprocess": "02685b2380deaafd",
        "ActivitySubprocess._send_heartbeat_if_needed": "31f8f8772b8c6096",
        "_configure_logs_over_json_channel": "6498da8a7e3cac0b",
        "_ensure_client": "3711d4790eaf3ac4",
        "_fork_main": "7b7b028048040028",
        "_subprocess_main": "45100c9be7e68f4e",
    },
    "airflow.sdk.execution_time.coordinator": {
        "_PythonCoordinator.execute_task": "7b10d871f3fd5113"
    },
    "airflow.sdk.execution_time.task_runner": {
        "parse": "69cedeb5764ac5c6",
        "main": "0944cb72c80b86d9",
        "_serialize_rendered_fields": "cacd37ff4beb125c",
    },
    "airflow.sdk.execution_time.comms": {"CommsDecoder": "93919e4dc0bba905"},
    "airflow.dag_processing.dagbag": {"BundleDagBag": "36e356c259427057"},
    "airflow.sdk.api.client": {
        "Client.__init__": "adc3cc37f7643936",
        "BearerAuth": "b781574998d1ffd8",
    },
}

_STOCK_CONFIGURE_LOGS = supervisor._configure_logs_over_json_channel
_ADAPTERS: list[tuple[Any, TypeAdapter[Any]]] = []


def digest(module: str, name: str) -> str:
    """Return the first digits of the SHA-256 of a definition's source."""
    found = operator.attrgetter(name)(importlib.import_module(module))
    return sources.digest(found)


def misfits() -> Iterator[str]:
    """Yield what differs from the Airflow that this module was read from."""
    if not hasattr(os, "pidfd_open"):
        yield "os.pidfd_open: this system has none"
    for module, names in RELIED_ON.items():
        for name, expected in names.items():
            try:
                found = digest(module, name)
            except (ImportError, AttributeError, OSError, TypeError) as error:
                yield f"{module}.{name}: {type(error).__name__}: {error}"
                continue
            if found != expected:
                yield f"{module}.{name}: expected source {expected} of {AIRFLOW}, found {found}"


class _End:
    """The end of a process, as something that a selector can wait for."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)

    def fileno(self) -> int:
        """Return the descriptor, readable from the process's end on."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _no_more(_: _End) -> bool:
    """Tell the supervisor that nothing can be read, so that it unregisters the source."""
    return False


@attrs.define(kw_only=True, slots=False)
class WarmSubprocess(supervisor.ActivitySubprocess):
    """A task's process and its supervision."""

    #: Processes below this one that are not the task's.
    others: frozenset[int] = frozenset()
    #: Bytes that the task may take, or None.
    memory: int | None = None
    _end: Any = attrs.field(default=None, init=False, repr=False)

    def _on_child_started(self, **details: Any) -> None:
        self._end = _End(self.pid)
        self.selector.register(self._end, 1, (_no_more, self._forget_end))
        super()._on_child_started(**details)
        self._last_heartbeat_attempt = time.monotonic()

    def _forget_end(self, end: _End) -> None:
        with suppress(KeyError, ValueError):
            self.selector.unregister(end)

    def _check_subprocess_exit(
        self, raise_on_timeout: bool = False, expect_signal: int | None = None
    ) -> int | None:
        known = self._exit_code
        code = super()._check_subprocess_exit(raise_on_timeout, expect_signal)
        if known is None and code is not None:
            if self.memory is not None and memory.ended_by(code):
                perhaps = "perhaps a library ended the process because it got no more"
                self.process_log.error(memory.explain(self.memory, perhaps))
            # Before the pipes are read to their end: the leftovers hold them open.
            left = leftovers.end(self.others)
            if left:
                self.process_log.warning("Ended processes that the task left behind", names=left)
        return code

    def wait(self) -> int:
        """Supervise to the end; return the exit code."""
        try:
            return super().wait()
        finally:
            self._end.close()


def prepare() -> None:
    """Make before the fork what every task would make for itself."""
    for kind in (comms.ToTask, JsonValue):
        _adapter(kind)
    supervisor._configure_logs_over_json_channel = _configure_logs


def task_main(amount: int | None = None) -> None:
    """Run in the task's process: as Airflow does, with what was made before the fork.

    Parameters
    ----------
    amount
        Bytes that the task may take; by default what the machine has.
    """
    if amount is not None:
        memory.limit(amount)
    dagbag.BundleDagBag = functools.partial(_bag, dagbag.BundleDagBag)
    comms.TypeAdapter = task_runner.TypeAdapter = _adapter
    _draw_new_lots()
    supervisor._subprocess_main()


def _draw_new_lots() -> None:
    """Seed NumPy anew: all forks of one process would draw the same numbers (Python's do not)."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _adapter(kind: Any) -> TypeAdapter[Any]:
    # By identity: an annotated type need not be hashable.
    for known, adapter in _ADAPTERS:
        if known is kind:
            return adapter
    adapter = TypeAdapter(kind)
    _ADAPTERS.append((kind, adapter))
    return adapter


def _configure_logs(log_fd: int) -> None:
    with one_clearing(logging.root.manager):
        _STOCK_CONFIGURE_LOGS(log_fd)


@contextmanager
def one_clearing(manager: logging.Manager) -> Iterator[None]:
    """Have loggers' caches of enabled levels emptied once, at the block's end.

    `logging.config` empties those of all loggers for each logger that it sets. Without effect
    when this Python's `logging` does it otherwise.
    """
    clear = getattr(manager, "_clear_cache", None)
    if clear is None:
        yield
        return
    manager._clear_cache = lambda: None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del manager._clear_cache  # type: ignore[attr-defined]
        clear()


def _bag(parser: Callable[..., Any], *, dag_folder: str, **arguments: Any) -> Any:
    kept = CACHE.find(dag_folder, **arguments)
    return parser(dag_folder=dag_folder, **arguments) if kept is None else kept
