"""Dagster with dagster-celery: a process for each run, which hands its ops to Celery workers."""

from __future__ import annotations

from tests.benchmarks.peers.peer import SLOTS, Peer
from tests.benchmarks.peers.stack import Stack, answers

#: Runs go straight to the launcher: with the default queue of runs, a daemon would take them up
#: some seconds later.
_INSTANCE = """\
storage:
  postgres:
    postgres_url: {env: PEER_POSTGRES}
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
telemetry: {enabled: false}
"""

_CELERY = """\
execution:
  config:
    broker: {env: PEER_REDIS}
    backend: {env: PEER_REDIS}
"""


def _start(stack: Stack) -> None:
    home = stack.folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(_INSTANCE)
    (home / "celery.yaml").write_text(_CELERY)
    (home / "workspace.yaml").write_text("load_from: []\n")
    code, web = str(stack.free_port()), str(stack.free_port())
    stack.env |= {
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PEER_DAGSTER": f"http://127.0.0.1:{web}",
    }
    words = ["code-server", "start", "-h", "127.0.0.1", "-p", code, "-m", "program"]
    stack.start("code", stack.program("dagster", *words), "Started Dagster code")
    words = ["--grpc-host", "127.0.0.1", "--grpc-port", code, "-h", "127.0.0.1", "-p", web]
    stack.start(
        "web",
        stack.program("dagster-webserver", *words),
        lambda: answers(f"http://127.0.0.1:{web}/server_info"),
    )
    for queue in ("urgent", "batch"):
        words = ["worker", "start", "-A", "dagster_celery.app", "-y", str(home / "celery.yaml")]
        words += ["-q", queue, "-n", queue, "--", "-c", str(SLOTS)]
        stack.start(queue, stack.program("dagster-celery", *words), " ready.")


PEER = Peer(
    name="dagster",
    package="dagster",
    isolation="a process for each run; ops in Celery's prefork children, used again by the next",
    durability=(
        "the run's record and its finished ops; the op that ran is lost with its message and the "
        "run waits for it; by hand it can be run again from the failed op"
    ),
    note=(
        "dagster-celery on the same Valkey, queue and worker of its own for the chain, runs "
        "launched without the queue of runs. The run's process looks for ended ops once a second "
        "(TICK_SECONDS in dagster_celery/core_execution_loop.py). The flood is 4 runs of 500 ops. "
        "From the request for the run to its recorded end."
    ),
    start=_start,
    workers=("urgent",),
)
