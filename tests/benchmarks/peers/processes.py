"""Processes that a measurement starts, and their end: all of them, whatever they forked."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.benchmarks.peers.environment import UnavailableError, without_addresses

#: Marks whatever is started, and what that starts in turn, with the folder that it works in.
MARKER = "AIRLANE_PEER_DATA"

#: Seconds that a part may take to get ready on a busy machine, and to end when asked to.
READY, GRACE = 120, 10

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def wait_until(condition: Callable[[], bool], what: str, deadline: float) -> None:
    """Await a condition.

    Raises
    ------
    UnavailableError
        With `what`, when it does not come true within `deadline` seconds.
    """
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise UnavailableError(f"{what}: not within {deadline:g} s")
        time.sleep(0.02)


@dataclass(frozen=True)
class _Running:
    process: subprocess.Popen[bytes]
    stop: signal.Signals


class Processes:
    """The parts of one peer's stack.

    Each is the leader of a process group, so that Ctrl-C reaches this program alone, which then
    ends them in order: the last started first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: dict[str, _Running] = {}

    def start(
        self,
        name: str,
        words: list[str],
        env: Mapping[str, str],
        ready: Callable[[], bool],
        stop: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Start a part and await that it is ready; its output goes to `log(name)`.

        Raises
        ------
        UnavailableError
            When it ends, or is not ready in time; with the end of its log.
        """
        if self.log(name).exists():
            # what it said before it was killed
            self.log(name).rename(self.folder / f"{name}.1.log")
        with self.log(name).open("wb") as out:
            process = subprocess.Popen(
                words,
                env=dict(env),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running[name] = _Running(process, stop)
        try:
            wait_until(lambda: process.poll() is not None or ready(), f"{name} ready", READY)
        except UnavailableError as error:
            raise UnavailableError(f"{error}; {self.said(name)}") from error
        if process.poll() is not None:
            raise UnavailableError(f"{name} ended ({process.returncode}): {self.said(name)}")

    def log(self, name: str) -> Path:
        """Return the file that a part's output goes to."""
        return self.folder / f"{name}.log"

    def said(self, name: str) -> str:
        """Return the end of a part's output, fit for a result file."""
        text = self.log(name).read_text(errors="replace")
        return without_addresses(text.replace(str(self.folder), "..."))[-600:]

    def kill(self, names: tuple[str, ...]) -> None:
        """End parts as a power cut would: with all that they started, no signal handled."""
        for name in names:
            process = self._running.pop(name).process
            with suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with suppress(psutil.Error):
                        child.kill()
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()

    def stop(self) -> None:
        """End every part, the last started first, and whatever they left behind."""
        with _uninterrupted():
            self._stop()

    def _stop(self) -> None:
        while self._running:
            _name, running = self._running.popitem()
            process = running.process
            process.send_signal(running.stop)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()
        end_leftovers(self.folder)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have an impatient second Ctrl-C wait until everything is stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = {number: signal.signal(number, signal.SIG_IGN) for number in _INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in known.items():
            signal.signal(number, handler)


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def leftovers(folder: Path) -> list[psutil.Process]:
    """Return the processes that were started for `folder` and still run, whoever started them."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if (
                process.pid != os.getpid()
                and process.environ().get(MARKER) == str(folder)
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
    return found


def end_leftovers(folder: Path) -> None:
    """Kill what still runs for `folder`, until nothing does."""
    while found := leftovers(folder):
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=GRACE)
