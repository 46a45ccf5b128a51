"""DBOS: durable workflows as a library on PostgreSQL; steps run inside the workflow's process."""

from __future__ import annotations

from tests.benchmarks.peers.peer import Peer
from tests.benchmarks.peers.stack import Stack


def _start(stack: Stack) -> None:
    for queue in ("urgent", "batch"):
        stack.start(queue, [str(stack.python), "-m", "program", queue], f"serving {queue}")


PEER = Peer(
    name="dbos",
    package="dbos",
    isolation="a thread of one worker process, which also runs the steps",
    durability=(
        "every finished step: the restarted worker goes on after the last one; the step that ran "
        "is run again"
    ),
    note=(
        "Queue and worker of its own for the chain; workers ask for new workflows once a second, "
        "the default, which is most of the time shown. From enqueue() to the workflow's end as "
        "recorded; its steps pass no queue."
    ),
    start=_start,
    workers=("urgent",),
)
FAST = PEER.variant("poll-0.1s", "As dbos, with a poll of 0.1 s.", PEER_POLL="0.1")
