"""Prefect with a process work pool: a process for each flow run, tasks inside of it."""

from __future__ import annotations

from tests.benchmarks.peers.peer import SLOTS, Peer
from tests.benchmarks.peers.stack import Stack, answers


def _start(stack: Stack) -> None:
    port = str(stack.free_port())
    api = f"http://127.0.0.1:{port}/api"
    stack.env |= {
        "PREFECT_HOME": str(stack.folder / "prefect"),
        "PREFECT_API_URL": api,
        "PREFECT_API_DATABASE_CONNECTION_URL": stack.postgres_url("postgresql+asyncpg"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
    }
    server = stack.program("prefect", "server", "start", "--host", "127.0.0.1", "--port", port)
    stack.start("server", [*server, "--no-ui"], lambda: answers(f"{api}/health"))
    for pool in ("urgent", "batch"):
        stack.run(stack.program("prefect", "work-pool", "create", pool, "--type", "process"))
    stack.run([str(stack.python), "-m", "program", "deploy"])
    for pool in ("urgent", "batch"):
        words = ["worker", "start", "--pool", pool, "--name", pool, "--limit", str(SLOTS)]
        stack.start(pool, stack.program("prefect", *words), "started!")


PEER = Peer(
    name="prefect",
    package="prefect",
    isolation="a process for each flow run; its tasks share it, as threads",
    durability=(
        "the flow run's row, as Running: nobody takes it up again; from its start, by hand"
    ),
    note=(
        "Work pool and worker of its own for the chain; settings as they come (a worker asks for "
        "flow runs every 10 s with some scatter, looking ahead). The flood is flow runs of one "
        "task each; their pool is paused while they are submitted. From the request for the "
        "flow run to its recorded end."
    ),
    start=_start,
    workers=("urgent",),
)
FAST = PEER.variant(
    "poll-0.5s",
    "As prefect, with a worker that asks every 0.5 s. Idle only: the flood takes minutes to send.",
    without=("chain6_flood_2000",),
    PREFECT_WORKER_QUERY_SECONDS="0.5",
)
