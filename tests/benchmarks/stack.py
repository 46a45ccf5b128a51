"""A stack under test: up, at rest while another is measured, down."""

from __future__ import annotations

import os
import re
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil
import redis

from deploy.local import leftovers
from tests.benchmarks.api import Api
from tests.benchmarks.errors import BenchError, TooLateError
from tests.benchmarks.metadata import Metadata

#: Variables of the caller that would make a stack another one.
_FOREIGN = re.compile(r"AIRFLOW|AIRLANE|BENCH|CELERY|PYTHONPATH|PG")
#: Parts that the others lean on, in the order in which they go on after a rest.
_SERVERS = ("postgres", "broker", "events", "api-server", "batch-api")
#: Seconds for the DAG files to be read.
_PARSE_DEADLINE = 180
#: Seconds for what is under way to end, and for its messages to be taken.
_IDLE_DEADLINE = 240
_LOOK = 0.2
#: Seconds for what is told to stand still to do so, on a machine that is busy with others.
_REST = 10

_Client = TypeVar("_Client")

#: Says a line of progress.
Report = Callable[[str], None]


@dataclass(frozen=True)
class Layout:
    """How many slots a stack has.

    Parameters
    ----------
    name
        `standard`, `unlent` or `wide`.
    queues
        airlane's queue model.
    slots
        Of stock's one worker: as many as airlane's in all.
    parallelism
        Stock's `[core] parallelism`; None leaves Airflow's default.
    """

    name: str
    queues: Path
    slots: int
    parallelism: int | None = None


_HERE = Path(__file__).parent
STANDARD = Layout("standard", _HERE / "queues.yaml", 16)
#: The same without lent capacity.
UNLENT = Layout("unlent", _HERE / "queues-unlent.yaml", 16)
#: 120 slots of the talk's load and 16 more; the default parallelism of 32 would waste them.
WIDE = Layout("wide", _HERE / "queues-wide.yaml", 136, parallelism=136)


def await_true(
    condition: Callable[[], bool], deadline: float, what: str, look: float = _LOOK
) -> None:
    """Await a condition, or raise `TooLateError` when it does not come true in time."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise TooLateError(f"expected {what} within {deadline:.0f} s, found it not so")
        time.sleep(look)


def clean_environment() -> dict[str, str]:
    """Return the caller's environment without what would change a stack."""
    return {k: v for k, v in os.environ.items() if not _FOREIGN.match(k)}


class Stack(ABC):
    """One stack.

    Parameters
    ----------
    folder
        Everything of it; made when it starts.
    dags
        The DAG files that it runs.
    report
        Where progress is told.
    """

    #: `stock` or `airlane`.
    name: str
    #: DAGs that run for ever in it, and are no work in progress.
    permanent: tuple[str, ...] = ()

    def __init__(self, folder: Path, dags: Path, report: Report) -> None:
        self.folder = folder
        self.dags = dags
        self.report = report
        self.layout: Layout | None = None
        self._resting = False
        self._api: Api | None = None
        self._metadata: Metadata | None = None
        self._broker: redis.Redis | None = None

    # What differs between stacks.

    @abstractmethod
    def _start(self, layout: Layout) -> None:
        """Start every part, and return when each is ready."""

    @abstractmethod
    def _stop(self) -> None:
        """Stop every part in good order."""

    @abstractmethod
    def restart_dag_processor(self) -> None:
        """Make the DAG processor look at its folder anew."""

    @abstractmethod
    def _connect(self) -> tuple[Api, Metadata, redis.Redis]:
        """Return clients of the API, the metadata database and the broker."""

    @property
    @abstractmethod
    def queues(self) -> tuple[str, ...]:
        """The names of the Celery queues."""

    # What they have in common.

    def up(self, layout: Layout) -> None:
        """Start it, and return when it can run the benchmark's DAGs."""
        start = time.monotonic()
        self.layout = layout
        self._start(layout)
        self._api, self._metadata, self._broker = self._connect()
        self.await_dags({file.stem for file in (_HERE / "dags").glob("*.py")})
        self.clear()  # of an interrupted benchmark in the same folder
        self.report(f"{self.name}: up ({layout.name}, {time.monotonic() - start:.0f} s)")

    def down(self) -> None:
        """Stop it, whatever state it is in; nothing of it is left running."""
        self.resume()
        for client in (self._api, self._metadata, self._broker):
            if client is not None:
                client.close()
        self._api = self._metadata = self._broker = None
        try:
            if self.folder.exists():
                self._stop()
        finally:
            leftovers.end(leftovers.find(self.folder), grace=5)
            self.layout = None

    @property
    def api(self) -> Api:
        """Airflow's REST API."""
        return _connected(self._api)

    @property
    def metadata(self) -> Metadata:
        """The metadata database."""
        return _connected(self._metadata)

    @property
    def broker(self) -> redis.Redis:
        """Celery's broker."""
        return _connected(self._broker)

    def waiting_messages(self) -> int:
        """Count the messages that no worker has taken."""
        return sum(int(self.broker.llen(queue)) for queue in self.queues)

    def await_dags(self, names: set[str]) -> None:
        """Await that DAGs are read."""

        def read() -> bool:
            if names <= self.metadata.known_dags():
                return True
            if errors := self.metadata.import_errors():
                raise BenchError(f"{self.name}: a DAG file cannot be read:\n" + "\n".join(errors))
            return False

        await_true(read, _PARSE_DEADLINE, f"{self.name} to have read {len(names)} DAGs")

    def is_idle(self) -> bool:
        """Say whether no run is active and no message waits."""
        return self.metadata.active(self.permanent) == 0 and self.waiting_messages() == 0

    def await_idle(self) -> None:
        """Await that no run is active and no message waits."""
        await_true(self.is_idle, _IDLE_DEADLINE, f"{self.name} to be idle")

    def clear(self) -> None:
        """Give up every run that is not over, and await that nothing is at work."""

        def idle() -> bool:
            if self.is_idle():
                return True
            self.metadata.fail_runs(besides=self.permanent)
            return False

        # a second look is seldom needed: the scheduler may have made tasks meanwhile
        await_true(idle, _IDLE_DEADLINE, f"{self.name} to be idle", look=1)

    def _processes(self) -> list[psutil.Process]:
        return leftovers.find(self.folder)

    def rest(self) -> None:
        """Stop all its processes in their tracks (SIGSTOP), servers too: it uses nothing then."""
        self._resting = True
        end = time.monotonic() + _REST
        # one may fork another between the look and its own stop
        while awake := [p for p in self._processes() if _status(p) != psutil.STATUS_STOPPED]:
            if time.monotonic() > end:
                raise BenchError(
                    f"expected {self.name} to be at rest, found processes that still run"
                )
            for process in awake:
                _signal(process, signal.SIGSTOP)
            time.sleep(0.02)

    def resume(self) -> None:
        """Let it go on: what others lean on first."""
        processes = self._processes() if self._resting else []
        self._resting = False
        order = {name: place for place, name in enumerate(_SERVERS)}
        processes.sort(key=lambda p: order.get(leftovers.part_of(p), len(order)))
        for process in processes:
            _signal(process, signal.SIGCONT)


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return psutil.STATUS_STOPPED


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _connected(client: _Client | None) -> _Client:
    if client is None:
        raise BenchError("expected a stack that is up, found one that is down")
    return client
