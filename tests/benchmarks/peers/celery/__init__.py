"""A plain Celery chain on Valkey: what the engine below Airflow can do by itself."""

from __future__ import annotations

from tests.benchmarks.peers.peer import SLOTS, Peer
from tests.benchmarks.peers.stack import Stack


def _start(stack: Stack) -> None:
    for queue in ("urgent", "batch"):
        words = ["-A", "program", "worker", "-Q", queue, "-n", queue, "-c", str(SLOTS)]
        # a connected worker says so with its name
        stack.start(queue, stack.program("celery", *words, "-l", "info"), f"{queue} ready.")


PEER = Peer(
    name="celery",
    package="celery",
    isolation="a prefork child, used again by the next task",
    durability=(
        "nothing of the step that ran: by default a message is acknowledged before its task runs, "
        "so the chain ends there and no record says so"
    ),
    note=(
        "Queue and worker of its own for the chain; prefork, result backend on the same Valkey, "
        "other settings as they come. From apply_async() to result.get()."
    ),
    start=_start,
    workers=("urgent",),
)
