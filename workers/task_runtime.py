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
- A task's process is forked before its task comes, from a template that has done what Airflow's
  does before its first message (`workers.spare`): logs, decoders, no database.
"""

from __future__ import annotations

import functools
import gc
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import attrs
import msgspec
import structlog
from airflow.dag_processing import dagbag
from airflow.sdk.api import client
from airflow.sdk.execution_time import comms, coordinator, supervisor, task_runner
from pydantic import JsonValue, TypeAdapter

from airflow_config import sources
from workers import leftovers, memory
from workers.dag_cache import CACHE
from workers.dag_costs import METER
from workers.spare import Nursery, Spare, Template

#: What of Airflow 3.3.2 is overridden, called or replaced -> digits of its source's SHA-256.
RELIED_ON = {
    "supervisor.WatchedSubprocess.start": "bf0ee2e40b8558a6",
    "supervisor.WatchedSubprocess._register_pipe_readers": "9b3d202845e34a9c",
    "supervisor.WatchedSubprocess._service_subprocess": "42a762c7c8aa4ea5",
    "supervisor.WatchedSubprocess._check_subprocess_exit": "dc039d1f36e9b6cd",
    "supervisor.ActivitySubprocess.start": "3b7c00d9ab984ddf",
    "supervisor.ActivitySubprocess._on_child_started": "c1810e9d6d095987",
    "supervisor.ActivitySubprocess.wait": "45b8879d9105584e",
    "supervisor.ActivitySubprocess._monitor_subprocess": "02685b2380deaafd",
    "supervisor.ActivitySubprocess._send_heartbeat_if_needed": "31f8f8772b8c6096",
    "supervisor.ProcessTracker": "d67a2459ec5efd9e",
    "supervisor._make_process_nondumpable": "32b1b14134b8200e",
    "supervisor._reopen_std_io_handles": "d9f1367a00b6a0b8",
    "supervisor.block_orm_access": "6d9e62d4fe81f69e",
    "supervisor._configure_logs_over_json_channel": "6498da8a7e3cac0b",
    "supervisor._ensure_client": "3711d4790eaf3ac4",
    "supervisor._fork_main": "7b7b028048040028",
    "supervisor._subprocess_main": "45100c9be7e68f4e",
    "coordinator._PythonCoordinator.execute_task": "7b10d871f3fd5113",
    "task_runner.parse": "69cedeb5764ac5c6",
    "task_runner.main": "0944cb72c80b86d9",
    "task_runner._serialize_rendered_fields": "cacd37ff4beb125c",
    "comms.CommsDecoder": "93919e4dc0bba905",
    "dagbag.BundleDagBag": "36e356c259427057",
    "client.Client.__init__": "adc3cc37f7643936",
    "client.BearerAuth": "b781574998d1ffd8",
}
_OWNERS = {
    module.__name__.rpartition(".")[2]: module
    for module in (supervisor, coordinator, task_runner, comms, dagbag, client)
}

_STOCK_CONFIGURE_LOGS = supervisor._configure_logs_over_json_channel
_FRAMES = msgspec.msgpack.Decoder(comms._ResponseFrame)
_ADAPTERS: list[tuple[Any, TypeAdapter[Any]]] = []


def misfits() -> list[str]:
    """Return what differs from the Airflow that this module was read from."""
    found = [] if hasattr(os, "pidfd_open") else ["os.pidfd_open: this system has none"]
    return found + sources.differences(RELIED_ON, _OWNERS)


class _End:
    """The end of a process, as something that a selector can wait for.

    Parameters
    ----------
    process
        The process.
    """

    def __init__(self, process: Spare) -> None:
        self._process = process

    def fileno(self) -> int:
        """Return the descriptor, readable from the process's end on."""
        return self._process.fileno()

    def close(self) -> None:
        """Leave the descriptor open: its template needs it for the next one."""


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
    #: The task takes the processor only while nobody else on the machine wants it.
    background: bool = False

    @classmethod
    def begin(
        cls,
        template: Template,
        *,
        what: Any,
        logger: Any,
        dag_rel_path: Any,
        bundle_info: Any,
        sentry_integration: str,
        **details: Any,
    ) -> Self:
        """Start a task in the spare of a template: what `start` does but for the fork."""
        spare = template.spare()
        try:
            # requests, stdout, stderr, logs: the order of `places`
            pairs = [socket.socketpair() for _ in range(4)]
            order = {name: details.get(name) for name in ("memory", "background")}
            template.begin(json.dumps(order).encode(), [theirs for theirs, _ in pairs])
            for theirs, _ in pairs:
                theirs.close()
            requests, stdout, stderr, logs = (ours for _, ours in pairs)
            # attrs makes the constructor
            process: Self = cls(  # type: ignore[call-arg]
                id=what.id,
                pid=spare.pid,
                stdin=requests,
                process=spare,
                process_log=logger or structlog.get_logger(logger_name="task").bind(),
                start_time=time.monotonic(),
                new_process_group=True,
                **details,
            )
            process._register_pipe_readers(stdout, stderr, requests, logs, data={})
            process._on_child_started(
                ti=what,
                dag_rel_path=dag_rel_path,
                bundle_info=bundle_info,
                sentry_integration=sentry_integration,
            )
        except BaseException:
            spare.close()  # nobody waits for it now
            raise
        return process

    def _on_child_started(self, **details: Any) -> None:
        self.selector.register(_End(self._process), 1, (_no_more, self._forget_end))
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
            self._process.close()


def prepare() -> None:
    """Make before the fork what every task would make for itself."""
    for kind in (comms.ToTask, JsonValue):
        _adapter(kind)
    supervisor._configure_logs_over_json_channel = _configure_logs


def template() -> Template:
    """Start a process that forks those of the tasks."""
    return Template(_run_template)


def _run_template(nursery: Nursery) -> None:
    """Set a template up as Airflow sets a task's process up, and become one with each fork."""
    supervisor._make_process_nondumpable()
    # Set by Celery in its process, after the template is forked or before.
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    # What stands where the task's pipes will; both ends stay open, in case that somebody writes.
    pairs = [socket.socketpair() for _ in range(4)]
    requests, stdout, stderr, logs = (theirs for theirs, _ in pairs)
    files = (requests.fileno(), stdout.fileno(), stderr.fileno(), logs.detach())
    places = ((0, files[0]), (1, files[1]), (2, files[2]), (files[3],))

    def run() -> None:
        dagbag.BundleDagBag = functools.partial(_bag, dagbag.BundleDagBag)
        comms.TypeAdapter = task_runner.TypeAdapter = _adapter
        task_runner.CommsDecoder = _Decoder
        gc.collect()
        gc.freeze()
        order = json.loads(nursery.serve(places, _draw_new_lots))
        for _, ours in pairs:
            ours.close()
        if order["memory"] is not None:
            memory.limit(order["memory"])
        if order["background"]:
            # Whoever else wakes up gets the processor at once, not after this one's time slice.
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        supervisor._subprocess_main()

    supervisor._fork_main(requests, stdout, stderr, files[3], run)


class _Decoder:
    """Makes Airflow's decoder of a task's messages around a part that was made before the fork."""

    def __class_getitem__(cls, _: object) -> Callable[..., Any]:
        return functools.partial(comms.CommsDecoder, resp_decoder=_FRAMES)


def _draw_new_lots() -> None:
    """Seed NumPy anew: all forks of one process would draw the same numbers (Python's do not)."""
    # NumPy itself loads this module only when somebody asks for it; then it is seeded anew anyway.
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


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
    if kept is not None:
        return kept
    start = time.monotonic()
    try:
        return parser(dag_folder=dag_folder, **arguments)
    finally:
        METER.add(time.monotonic() - start)
