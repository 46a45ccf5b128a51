"""Tasks and driver of the procrastinate peer; runs in its environment."""

from __future__ import annotations

import os
import time

import lines
import procrastinate
import psycopg
import steps

URL = os.environ["PEER_POSTGRES"]
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=URL))

_ENDED = """
    SELECT extract(epoch FROM event.at)::float FROM procrastinate_jobs AS job
    JOIN procrastinate_events AS event ON event.job_id = job.id AND event.type = 'succeeded'
    WHERE job.queue_name = 'urgent' AND job.args ->> 'run' = %s
    AND (job.args ->> 'number')::int = %s
"""
_WAITING = "SELECT count(*) FROM procrastinate_jobs WHERE queue_name = 'batch' AND status = 'todo'"


@app.task(name="step", queue="urgent")
def step(run: str, number: int, seconds: float) -> None:
    steps.step(run, number, seconds)
    if number < steps.STEPS:
        step.defer(run=run, number=number + 1, seconds=seconds)


@app.task(name="nap", queue="batch")
def nap(seconds: float) -> None:
    steps.nap(seconds)


def begin(run: str, seconds: float) -> None:
    step.defer(run=run, number=1, seconds=seconds)


def flood(count: int, seconds: float) -> None:
    nap.batch_defer(*[{"seconds": seconds}] * count)


def main() -> None:
    sync = procrastinate.SyncPsycopgConnector(conninfo=URL)
    with (
        psycopg.connect(URL, autocommit=True) as connection,
        app.replace_connector(sync),
        app.open(),
    ):

        def ended(run: str) -> float | None:
            row = connection.execute(_ENDED, [run, steps.STEPS]).fetchone()
            return row and row[0]

        def measure(run: str) -> float:
            start = time.time()
            begin(run, 0)
            return float(lines.poll(lambda: ended(run), 0.02)) - start

        def waiting() -> int:
            row = connection.execute(_WAITING).fetchone()
            return int(row[0]) if row else 0

        lines.serve(begin=begin, measure=measure, flood=flood, waiting=waiting)


if __name__ == "__main__":
    main()
