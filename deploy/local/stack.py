"""The whole stack of an instance: up, down, and what state it is in."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from airflow_config import queues, settings
from airflow_config.place import ROOT
from airflow_config.queues import Fleet
from deploy.local import flower, leftovers, postgres
from deploy.local.instance import Instance, InstanceError, write_private
from deploy.local.parts import WORKER_GRACE, Part, parts, prepare_servers
from deploy.local.supervisor import Supervisor

#: Seconds in which a part must be ready; the first import of Airflow on a busy machine is slow.
READY_DEADLINE = 180
#: Seconds between two looks at what is awaited.
_LOOK = 0.2
#: Restarts of a starting part after which it counts as failed.
_RESTARTS = 3
_LOG_LINES = 20

Report = Callable[[str], None]


class StackError(Exception):
    """The stack could not be brought up or down; the text names the part and its last log lines."""


@contextmanager
def locked(instance: Instance) -> Iterator[None]:
    """Hold the instance: two `airlane up` at once would start everything twice."""
    instance.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (instance.folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InstanceError(
                f"expected to be alone with {instance.folder}, found another airlane up, down or "
                "reset at work there. Fix: wait for it."
            ) from None
        yield


def up(instance: Instance, report: Report) -> bool:
    """Start what does not run, and return when every part is ready.

    Parameters
    ----------
    instance
        Made when it is new.
    report
        Called with a line of progress.

    Returns
    -------
    bool
        True when anything had to be started.

    Raises
    ------
    StackError
        When a part does not become ready; what was started stays up, to be looked at.
    """
    fleet = queues.load()
    with locked(instance):
        supervisor = Supervisor(instance)
        if supervisor.pid() is None:
            _end_leftovers(instance, report)
            instance.create()
        elif not supervisor.answers():
            raise StackError("supervisord runs but does not answer. Fix: airlane down, airlane up")
        all_parts = parts(instance, fleet)
        if supervisor.pid() is None:
            _write_settings(instance, fleet)
            prepare_servers(instance)
            supervisor.write_config(all_parts)
            supervisor.start()
        running = {n for n, s in supervisor.states().items() if s["statename"] == "RUNNING"}
        changed = False
        for stage, group in groupby(all_parts, key=lambda part: part.stage):
            members = list(group)
            missing = [p for p in members if p.words and p.name not in running]
            for part in missing:
                supervisor.start_part(part.name)
            _await_ready(supervisor, members if missing else [], report)
            if stage == 0 and (missing or not instance.state().get("prepared")):
                _prepare_databases(instance, report)
            changed = changed or bool(missing)
        return changed


def _write_settings(instance: Instance, fleet: Fleet) -> None:
    place = instance.place()
    for role in ("control", "worker"):
        text = settings.render_cfg(settings.airflow_settings(fleet, place, role))
        write_private(instance.airflow_config(role), text)
    local = instance.airflow_home / "config" / "airflow_local_settings.py"
    local.parent.mkdir(exist_ok=True)
    write_private(local, settings.local_settings_source())
    flower.write_config(instance)


def _prepare_databases(instance: Instance, report: Report) -> None:
    start = time.monotonic()
    keys = instance.keys
    postgres.ensure_logins(instance.port("postgres"), keys["postgres"], keys)
    environment = {**os.environ, **instance.environment("databases", "control", "operator")}
    log = instance.logs / "databases.log"
    with log.open("w") as output:
        words = [sys.executable, "-m", "deploy.local.databases"]
        done = subprocess.run(
            words, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False
        )
    if done.returncode:
        raise StackError(f"preparing the databases failed ({log}):\n{last_lines(log)}")
    report(f"databases prepared ({time.monotonic() - start:.1f} s)")


def _await_ready(supervisor: Supervisor, waiting: list[Part], report: Report) -> None:
    start = time.monotonic()
    waiting = list(waiting)
    crashes: dict[str, set[int]] = {}
    with ThreadPoolExecutor(max_workers=max(1, len(waiting))) as threads:
        while waiting:
            states = supervisor.states()
            for part in waiting:
                state = states.get(part.name)
                if state is None:
                    continue
                pids = crashes.setdefault(part.name, set())
                pids.add(state["pid"])
                if state["statename"] == "FATAL" or len(pids - {0}) > _RESTARTS:
                    raise _failed(supervisor, part, "ends as soon as it is started")
            answers = threads.map(
                lambda part, state: part.ready(state.get("start", 0)),
                waiting,
                [states.get(part.name, {}) for part in waiting],
            )
            ready = [part for part, answer in zip(list(waiting), answers, strict=True) if answer]
            for part in ready:
                report(f"{part.name} ready ({time.monotonic() - start:.1f} s)")
                waiting.remove(part)
            if waiting and time.monotonic() - start > READY_DEADLINE:
                raise _failed(supervisor, waiting[0], f"is not ready after {READY_DEADLINE} s")
            if waiting:
                time.sleep(_LOOK)


def _failed(supervisor: Supervisor, part: Part, what: str) -> StackError:
    log = supervisor.log(part.name)
    return StackError(f"{part.name} {what}. The end of {log}:\n{last_lines(log)}")


def last_lines(path: Path, count: int = _LOG_LINES, indent: str = "  ") -> str:
    """Return the last lines of a file, each behind `indent`."""
    try:
        with path.open(errors="replace") as file:
            return "".join(f"{indent}{line}" for line in deque(file, count)).rstrip("\n")
    except OSError as error:
        return f"{indent}({path}: {error.strerror})"


def down(instance: Instance, report: Report) -> None:
    """Stop every part in order: intake, dispatch, work, what work leans on.

    Workers get `WORKER_GRACE` seconds to finish their tasks; a task that is cut off runs again
    after the next start. Processes that supervisord does not know are found and ended too.
    """
    with locked(instance):
        supervisor = Supervisor(instance)
        if supervisor.pid() is not None and supervisor.answers():
            for _, group in groupby(
                sorted(parts(instance, queues.load()), key=lambda part: part.stop_order),
                key=lambda part: part.stop_order,
            ):
                _stop_parts(instance, supervisor, list(group), report)
            supervisor.shutdown()
            _await(lambda: not supervisor.runs(), 30, "supervisord to end")
        _end_leftovers(instance, report)


def _stop_parts(
    instance: Instance, supervisor: Supervisor, group: list[Part], report: Report
) -> None:
    states = supervisor.states()
    stopping = [part for part in group if states.get(part.name, {}).get("pid")]
    for part in stopping:
        supervisor.stop_part(part.name, wait=False)
    for part in stopping:
        start = time.monotonic()
        _await(
            lambda name=part.name: not supervisor.states()[name]["pid"],  # type: ignore[misc]
            part.grace + 15,
            f"{part.name} to end",
        )
        report(f"{part.name} stopped ({time.monotonic() - start:.1f} s)")
    # A task has a process group of its own: it outlives a worker that was killed.
    names = {part.name for part in stopping}
    cut_off = [p for p in leftovers.find(instance.folder) if leftovers.part_of(p) in names]
    if cut_off:
        leftovers.end(cut_off, grace=2)


def _end_leftovers(instance: Instance, report: Report) -> None:
    found = leftovers.find(instance.folder)
    if found:
        report(f"ending {len(found)} processes that no supervisor keeps")
        leftovers.end(found, grace=WORKER_GRACE)
    left = leftovers.find(instance.folder)
    if left:
        raise StackError(f"expected no process of {instance.folder}, found {left}")


def _await(condition: Callable[[], bool], deadline: float, what: str) -> None:
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise StackError(f"expected {what} within {deadline:.0f} s; it did not")
        time.sleep(_LOOK)
