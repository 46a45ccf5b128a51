"""Workflows, worker and driver of the DBOS peer; runs in its environment."""

from __future__ import annotations

import os
import sys
import threading
import time

import lines
import steps
from dbos import DBOS, DBOSClient, DBOSConfig

#: As the other peers' workers.
SLOTS = 8


@DBOS.step()
def step(run: str, number: int, seconds: float) -> int:
    return steps.step(run, number, seconds)


@DBOS.workflow()
def chain6(run: str, seconds: float) -> None:
    for number in range(1, steps.STEPS + 1):
        step(run, number, seconds)


@DBOS.workflow()
def doze(seconds: float) -> None:
    snooze(seconds)


@DBOS.step()
def snooze(seconds: float) -> None:
    steps.nap(seconds)


def work(queue: str) -> None:
    """Serve one queue until killed."""
    config: DBOSConfig = {
        "name": "peer",
        "system_database_url": os.environ["PEER_POSTGRES"],
        # by which a restarted worker knows its own workflows
        "executor_id": queue,
        "application_version": "1",
    }
    DBOS(config=config)
    DBOS.listen_queues([queue])
    DBOS.launch()
    # one second is the default
    poll = float(os.environ.get("PEER_POLL", "1"))
    DBOS.register_queue(queue, worker_concurrency=SLOTS, polling_interval_sec=poll)
    print(f"serving {queue}", flush=True)  # noqa: T201 - by which it is known to be ready
    threading.Event().wait()


def drive() -> None:
    client = DBOSClient(system_database_url=os.environ["PEER_POSTGRES"])

    def submit(run: str, seconds: float) -> None:
        options = {"workflow_name": "chain6", "queue_name": "urgent", "workflow_id": run}
        client.enqueue(options, run, seconds)

    def measure(run: str) -> float:
        start = time.time()
        submit(run, 0)
        handle = client.retrieve_workflow(run)
        handle.get_result(polling_interval_sec=0.02)
        return handle.get_status().updated_at / 1000 - start

    def flood(count: int, seconds: float) -> None:
        for _ in range(count):
            client.enqueue({"workflow_name": "doze", "queue_name": "batch"}, seconds)

    def waiting() -> int:
        return len(
            client.list_workflows(
                status="ENQUEUED", queue_name="batch", load_input=False, load_output=False
            )
        )

    lines.serve(begin=submit, measure=measure, flood=flood, waiting=waiting)


if __name__ == "__main__":
    work(sys.argv[1]) if len(sys.argv) > 1 else drive()
