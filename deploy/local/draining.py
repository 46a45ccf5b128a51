"""A worker of one machine is taken off duty, and the end of its tasks is awaited."""

from __future__ import annotations

import socket
import time

import redis

from airflow_config import live_workers
from deploy.local.instance import Instance
from deploy.local.parts import off_duty
from deploy.local.stack import Report, StackError
from deploy.local.supervisor import Supervisor
from workers.command import node_name

#: Seconds between two looks at a worker; it tells of itself every 2 s.
_LOOK = 0.5
#: Seconds in which the broker answers.
_TIMEOUT = 5.0
#: Seconds without a word of a worker: it hangs, and its watchdog has not ended it either.
_SILENT = 300.0


def drain(
    instance: Instance, supervisor: Supervisor, name: str, limit_s: int | None, report: Report
) -> None:
    """Take a worker off duty and await the end of its tasks, however long they may take.

    Whoever interrupts it finds the worker at work again, with what it was started with. After it,
    the worker is off duty still.

    Parameters
    ----------
    instance, supervisor
        Whose worker it is, and who keeps it.
    name
        The part's.
    limit_s
        How long its tasks may take by the queue model (seconds), for the report.
    report
        Called with a line whenever the number of its tasks has changed.

    Raises
    ------
    StackError
        When neither the broker nor the worker tells what it runs.
    """
    file = off_duty(instance, name)
    file.touch(mode=0o600)
    try:
        with live_workers.connect(instance.broker_url("operator"), _TIMEOUT) as broker:
            _await_idle(broker, supervisor, name, limit_s, report)
    except redis.RedisError as error:
        file.unlink(missing_ok=True)
        raise StackError(
            f"expected the broker to tell what {name} runs, found: {error}. It is at work again. "
            "Fix: airlane status, then airlane apply"
        ) from error
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _await_idle(
    broker: redis.Redis, supervisor: Supervisor, name: str, limit_s: int | None, report: Report
) -> None:
    node = node_name(name, socket.gethostname())
    told: int | None = None
    idle_since, heard = 0.0, time.monotonic()
    # one that ends by itself runs nothing any more
    while supervisor.states()[name]["pid"]:
        worker, beat = live_workers.read_one(broker, node)
        if worker is not None:
            heard = time.monotonic()
        elif time.monotonic() - heard > _SILENT:
            raise StackError(
                f"expected {name} to tell what it runs, found nothing of it for {_SILENT:g} s. It "
                f"is at work again, if it works at all. Fix: airlane logs {name}; then airlane "
                "down, airlane up"
            )
        if worker is not None and not worker.queues and worker.running != told:
            told = worker.running
            report(f"{name} {_progress(told, worker.longest_s, limit_s)}")
        if worker is None or worker.queues or worker.running:
            idle_since = 0.0
        elif not idle_since:
            idle_since = beat
        elif beat > idle_since:
            # twice in a row: a message that was just under way would show by now
            return
        time.sleep(_LOOK)


def _progress(running: int, longest: float, limit_s: int | None) -> str:
    if not running:
        return "takes nothing new and runs nothing"
    tasks = "1 task runs" if running == 1 else f"{running} tasks run"
    limit = "" if limit_s is None else f"; a task may take {limit_s} s"
    return f"takes nothing new; {tasks}, the longest for {longest:.0f} s{limit}"
