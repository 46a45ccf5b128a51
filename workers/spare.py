"""A task's process is forked before its task comes, by a process that is set up already.

Below a Celery process stands its *template*: forked from it, set up as for a task, never running
one. The template forks a *spare*, which waits. When a task comes, the Celery process hands it the
ends of the task's pipes; when it has ended, the template says how, and forks the next one. So what
each task would do anew before its first line is done once, nobody waits for a fork, and the pages
that a Celery process writes to are not shared, hence not copied, for each of its tasks.

Every task still has a process of its own, that has run nothing else. Nothing here knows Airflow.
"""

from __future__ import annotations

import enum
import logging
import os
import select
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

log = logging.getLogger(__name__)

#: How a process ended by a signal is told: the signal's name and its number below zero (psutil's).
EndingSignal = enum.IntEnum(  # type: ignore[misc]  # made from what the system has
    "EndingSignal", {member.name: -member.value for member in signal.Signals}
)


def exit_code(status: int) -> int:
    """Return the exit code of a wait status; one below zero names its signal."""
    code = os.waitstatus_to_exitcode(status)
    with suppress(ValueError):
        return EndingSignal(code) if code < 0 else code
    return code


class LostError(Exception):
    """The template has ended: there is no spare."""


class Spare:
    """A process that waits for a task, and then is that task's.

    Parameters
    ----------
    pid
        The process.
    news
        Where its template tells how it ended.
    """

    ProcessNotFound = ProcessLookupError
    TimeoutExpired = TimeoutError

    def __init__(self, pid: int, news: socket.socket) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self._news = news
        self._code: int | None = None

    def fileno(self) -> int:
        """Return what can be read from the process's end on."""
        return self._news.fileno()

    def close(self) -> None:
        """Forget the process; it goes on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to this process, never to another that has got its number."""
        signal.pidfd_send_signal(self._descriptor, number)

    def wait(self, timeout: float | None) -> int:
        """Return the exit code.

        Parameters
        ----------
        timeout
            Seconds to wait at most; None waits for ever.

        Raises
        ------
        TimeoutError
            When the process still runs then.
        """
        if self._code is None:
            if not _readable(self._news.fileno(), timeout):
                raise TimeoutError(f"process {self.pid} still runs")
            with suppress(ConnectionError):
                if told := self._news.recv(64):
                    self._code = exit_code(int(told))
        if self._code is None:
            # The template is gone: orphans come to this process (`leftovers.adopt`).
            self._code = self._wait_for_orphan(timeout)
        return self._code

    def _wait_for_orphan(self, timeout: float | None) -> int:
        if not _readable(self._descriptor, timeout):
            raise TimeoutError(f"process {self.pid} still runs")
        try:
            return exit_code(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            return 1  # nobody knows


def _readable(descriptor: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


class Template:
    """A process that forks spares; this is the Celery process's view of it.

    Parameters
    ----------
    run
        What the template does: set itself up and call `serve`. It never returns.
    """

    def __init__(self, run: Callable[[Nursery], None]) -> None:
        self._orders, orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._news, news = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.owner = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._orders.close()
                self._news.close()
                # Whoever signals a worker's group means tasks no more than a worker itself does.
                os.setpgid(0, 0)
                run(Nursery(orders, news))
            finally:
                os._exit(1)
        orders.close()
        news.close()

    def spare(self) -> Spare:
        """Return the process for the next task.

        Raises
        ------
        LostError
            When the template has ended.
        """
        try:
            told = self._news.recv(64)
            if told:
                return Spare(int(told), self._news)
        except (ConnectionError, ProcessLookupError):
            pass
        raise LostError(f"process {self.pid} has ended")

    def begin(self, order: bytes, files: Sequence[socket.socket]) -> None:
        """Have the spare begin its task.

        Parameters
        ----------
        order
            What it should know.
        files
            The ends of its pipes, in the order of `Nursery.serve`.
        """
        try:
            socket.send_fds(self._orders, [order], [file.fileno() for file in files])
        except OSError as error:
            raise LostError(f"process {self.pid} takes no orders: {error}") from error

    def end(self) -> None:
        """End the template and its spare; to be called between two tasks."""
        self._orders.close()
        self._news.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class Nursery:
    """The template's own side.

    Parameters
    ----------
    orders
        Where a spare is told to begin.
    news
        Where the template tells about spares.
    """

    def __init__(self, orders: socket.socket, news: socket.socket) -> None:
        self._orders = orders
        self._news = news

    def serve(self, places: Sequence[Sequence[int]], prepare: Callable[[], None]) -> bytes:
        """Fork spares, one after the other; return in each of them what its order says.

        Parameters
        ----------
        places
            Descriptors that each of the order's files takes.
        prepare
            What each spare does while it waits.
        """
        while True:
            pid = os.fork()
            if pid == 0:
                prepare()
                return self._wait_for_order(places)
            # Here too, so that it is so whoever comes first.
            with suppress(OSError):
                os.setpgid(pid, pid)
            self._tell(pid)
            self._tell(os.waitpid(pid, 0)[1])

    def _tell(self, number: int) -> None:
        try:
            self._news.send(str(number).encode())
        except OSError:
            os._exit(0)  # the Celery process has ended

    def _wait_for_order(self, places: Sequence[Sequence[int]]) -> bytes:
        # A group of its own, so that a signal reaches all that the task starts.
        with suppress(OSError):
            os.setpgid(0, 0)
        self._news.close()
        order, files, *_ = socket.recv_fds(self._orders, 65536, len(places))
        if not order:
            os._exit(0)  # the Celery process has ended, or wants another template
        self._orders.close()
        for file, taken in zip(files, places, strict=True):
            for place in taken:
                os.dup2(file, place, inheritable=place <= 2)
            os.close(file)
        return order
