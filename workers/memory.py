"""The memory that one task may take: `task_memory` of its queue.

The kernel refuses a process more than its limit (`RLIMIT_DATA`): a task that wants too much gets
a `MemoryError` and fails, by itself, instead of having the machine choose whom to kill. What the
process was forked with does not count, nor do files that it maps. A process that the task starts
has the limit for itself.
"""

from __future__ import annotations

import resource
import signal
from pathlib import Path
from typing import Any

import structlog
from airflow.listeners import hookimpl
from airflow.sdk.listener import get_listener_manager

from airflow_config.sizes import format_size


def explain(amount: int, found: str = "it asked for more") -> str:
    """Say what the limit was, what was found, and how to change it."""
    return (
        f"The task may take {format_size(amount)} of memory, and {found}. Fix: have it work on "
        "less at a time, or raise task_memory of its queue in queues.yaml"
    )


def limit(amount: int) -> None:
    """Limit what this process may take from now on, and say so when a task fails by it.

    Parameters
    ----------
    amount
        Bytes.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _taken() + amount
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, wanted))
    get_listener_manager().add_listener(_Explainer(amount))


def ended_by(exit_code: int) -> bool:
    """Tell whether a process may have ended so for lack of memory: libraries abort or crash."""
    return -exit_code in {signal.SIGABRT, signal.SIGSEGV}


def _taken() -> int:
    """Return the bytes that count for the limit already."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    return pages * resource.getpagesize()


class _Explainer:
    """Hears of failed tasks in the task's process: Airflow's supported hook."""

    def __init__(self, amount: int) -> None:
        self._amount = amount

    @hookimpl
    def on_task_instance_failed(
        self,
        previous_state: Any,  # noqa: ARG002 - the hook's signature
        task_instance: Any,  # noqa: ARG002
        error: Any,
    ) -> None:
        """Name the limit in the task's log when it was that."""
        if isinstance(error, MemoryError):
            structlog.get_logger(logger_name="task").error(explain(self._amount))
