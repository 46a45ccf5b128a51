"""procrastinate: a task queue in PostgreSQL, woken by NOTIFY."""

from __future__ import annotations

from tests.benchmarks.peers.peer import SLOTS, Peer
from tests.benchmarks.peers.stack import Stack


def _start(stack: Stack) -> None:
    app = ["--app", "program.app", "-v"]
    stack.run(stack.program("procrastinate", *app, "schema", "--apply"))
    for queue in ("urgent", "batch"):
        words = [*app, "worker", "-q", queue, "-n", queue, "-c", str(SLOTS)]
        stack.start(queue, stack.program("procrastinate", *words), "Starting worker on")


PEER = Peer(
    name="procrastinate",
    package="procrastinate",
    isolation="a thread of one worker process",
    durability=(
        "the job's row, as `doing`: by default nobody takes it up again, so the chain stays there "
        "until a periodic task of one's own retries stalled jobs"
    ),
    note=(
        "Queue and worker of its own for the chain; each step defers the next one; "
        "LISTEN/NOTIFY on, poll of 5 s, as they come: a notice that arrives while a worker fetches "
        "is dropped (_fetch_and_process_jobs in procrastinate 3.10.0), and that step then waits "
        "for the poll. From defer() to the event `succeeded` of the last step."
    ),
    start=_start,
    workers=("urgent",),
)
FAST = PEER.variant(
    "poll-0.1s",
    "As procrastinate, with a poll of 0.1 s.",
    PROCRASTINATE_WORKER_FETCH_JOB_POLLING_INTERVAL="0.1",
)
