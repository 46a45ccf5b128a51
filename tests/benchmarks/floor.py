"""What the steps of a task cost by themselves: below their sum no task of its own process gets.

Each is measured alone, in a second or two, on servers of its own: CPU of everything that takes part
in it, and how long it takes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from airflow_config.place import ROOT
from tests.benchmarks.peers.stack import Stack, answers
from tests.benchmarks.stack import Report

#: How often each is done; an interpreter that loads Airflow takes a second.
_IMPORTS, _PROCESSES, _CALLS = 3, 20, 200
_PROGRAMS = "tests.benchmarks.floor_programs"
#: Seconds that it takes, on two cores.
SECONDS = 25
#: In words, by name.
WHAT = {
    "fork": "fork and end of a process from one that has loaded what tasks need",
    "python": "`python -c pass`: a bare interpreter, begun and ended",
    "import": "an interpreter that imports Airflow's task runner, begun and ended",
    "commit": "an INSERT and its commit in PostgreSQL, synchronous, on an open connection",
    "http": "an HTTP request to uvicorn and FastAPI that checks a token, on an open connection",
    "celery": "a Celery message to a prefork worker, and its result back",
}

#: CPU seconds and seconds of one.
Cost = tuple[float, float]


def measure(report: Report) -> dict[str, dict[str, Any]]:
    """Return CPU seconds and seconds of each by name, with what it is."""
    report("floor: what the steps of a task cost by themselves")
    with tempfile.TemporaryDirectory(prefix="airlane-floor-") as folder:
        stack = Stack(Path(folder) / "floor", Path(sys.executable), ROOT)
        stack.env["AIRFLOW_HOME"] = str(stack.folder / "airflow")
        with stack:
            measured = {
                "fork": _program(stack, "forks"),
                "python": _command(stack, "pass", _PROCESSES),
                "import": _command(
                    stack, "import airflow.sdk.execution_time.task_runner", _IMPORTS
                ),
                "commit": _commit(stack),
                "http": _http(stack),
                "celery": _celery(stack),
            }
    found = {}
    for name, (cpu, seconds) in measured.items():
        found[name] = {"what": WHAT[name], "cpu": round(cpu, 6), "seconds": round(seconds, 6)}
        report(f"  {name}: {1000 * cpu:.2f} ms CPU, {1000 * seconds:.2f} ms")
    return found


def cpu() -> float:
    """Return the CPU seconds of this process and of all that it has started, at any depth."""
    me = psutil.Process().cpu_times()
    return sum(me[:4]) + _started()


def _started() -> float:
    """Return the CPU seconds of the processes that this one has started and that still run."""
    found = [
        process.cpu_times()
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE
    ]
    return sum(sum(times[:4]) for times in found)


def times(count: int, do: Callable[[], object]) -> Cost:
    """Return what doing something costs, after a first time that does not count."""
    do()
    begin, before = time.monotonic(), cpu()
    for _ in range(count):
        do()
    return (cpu() - before) / count, (time.monotonic() - begin) / count


def _command(stack: Stack, code: str, count: int) -> Cost:
    return times(count, lambda: stack.run([sys.executable, "-c", code]))


def _program(stack: Stack, name: str) -> Cost:
    """Return what one of the programs says of itself."""
    said = stack.run([sys.executable, "-m", _PROGRAMS, name, str(_CALLS)])
    # Airflow may have said something before
    found = json.loads(said.splitlines()[-1])
    return found["cpu"], found["seconds"]


def _commit(stack: Stack) -> Cost:
    with psycopg.connect(stack.env["PEER_POSTGRES"], autocommit=True) as connection:
        connection.execute("CREATE TABLE step (id bigserial PRIMARY KEY, state text)")
        return times(_CALLS, lambda: connection.execute("INSERT INTO step (state) VALUES ('x')"))


def _http(stack: Stack) -> Cost:
    from tests.benchmarks.floor_programs import token

    port = stack.free_port()
    words = ["-m", "uvicorn", f"{_PROGRAMS}:web", "--factory", "--host", "127.0.0.1"]
    stack.start(
        "web",
        [sys.executable, *words, "--port", str(port), "--no-access-log"],
        lambda: answers(f"http://127.0.0.1:{port}/openapi.json"),
    )
    head = {"Authorization": f"Bearer {token()}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=head) as client:
        cost = times(_CALLS, lambda: client.get("/").raise_for_status())
    stack.kill(("web",))
    return cost


def _celery(stack: Stack) -> Cost:
    words = ["-m", "celery", "-A", _PROGRAMS, "worker", "-c", "1", "-n", "floor@%h"]
    stack.start("celery", [sys.executable, *words, "-l", "INFO"], " ready.")
    # the sender is a process of its own: what Celery keeps of results outlives the broker
    before = _started()
    cpu, seconds = _program(stack, "messages")
    servers = _started() - before
    stack.kill(("celery",))
    return cpu + servers / _CALLS, seconds
