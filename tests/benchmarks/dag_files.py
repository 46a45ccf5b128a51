"""DAG files that are there for one case only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.stack import Stack

#: Each in a file of its own, as 200 cron jobs would come to Airflow.
_SINGLETON = '''\
"""A job that starts each minute; one run at a time."""

import os

import pendulum
from airflow.sdk import dag, task

QUEUE = os.environ.get("BENCH_QUEUE", "batch")


@dag(
    dag_id="{dag_id}",
    schedule={schedule!r},
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
)
def singleton() -> None:
    @task(queue=QUEUE)
    def work() -> None:
        return None

    work()


singleton()
'''


def names(prefix: str, count: int) -> list[str]:
    """Return the ids of so many singleton DAGs."""
    return [f"{prefix}_{number:03}" for number in range(count)]


def source(dag_id: str, schedule: str | None) -> str:
    """Return the file of a singleton DAG."""
    return _SINGLETON.format(dag_id=dag_id, schedule=schedule)


@contextmanager
def present(stack: Stack, dag_ids: list[str], schedule: str | None) -> Iterator[None]:
    """Have singleton DAGs in a stack's folder, each in a file of its own.

    They are read when the block begins. A DAG processor looks for new files every few minutes
    only, so it is restarted; when the block ends, the files go and it is restarted again.
    """
    files = [stack.dags / f"{dag_id}.py" for dag_id in dag_ids]
    for file, dag_id in zip(files, dag_ids, strict=True):
        file.write_text(source(dag_id, schedule))
    stack.metadata.execute("UPDATE dag SET is_paused = false WHERE dag_id = ANY(%s)", (dag_ids,))
    stack.restart_dag_processor()
    try:
        stack.await_dags(set(dag_ids))
        yield
    except Exception:
        # not for Ctrl-C: the stack goes down then, and its folder is made anew
        _remove(stack, dag_ids, files)
        raise
    _remove(stack, dag_ids, files)


def _remove(stack: Stack, dag_ids: list[str], files: list[Path]) -> None:
    # what no file defines any more must not be started either
    stack.metadata.execute("UPDATE dag SET is_paused = true WHERE dag_id = ANY(%s)", (dag_ids,))
    for file in files:
        file.unlink(missing_ok=True)
    stack.restart_dag_processor()
    stack.clear()
