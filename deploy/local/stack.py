"""The whole stack of an instance: up, down, reset, and how its parts start and stop."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from airflow_config import queues, settings
from airflow_config.place import ROOT
from airflow_config.queues import Fleet
from deploy.files import write_private
from deploy.local import flower, leftovers, part_facts, postgres
from deploy.local.caller import passed_on
from deploy.local.instance import Instance, InstanceError, started_fleet
from deploy.local.parts import WORKER_GRACE, Part, off_duty, parts, prepare_servers
from deploy.local.supervisor import Supervisor

#: Seconds in which a part must be ready; the first import of Airflow on a busy machine is slow.
READY_DEADLINE = 180
#: Seconds between two looks at what is awaited.
_LOOK = 0.2
#: Restarts of a starting part after which it counts as failed.
_RESTARTS = 3
_LOG_LINES = 20
#: A process may start another between the look and its own end.
_ROUNDS = 3

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
                f"expected to be alone with {instance.folder}, found another airlane at work "
                "there (up, down, reset or apply). Fix: wait for it."
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
            all_parts = _start_supervisor(supervisor, instance, fleet, report)
        elif supervisor.answers():
            _compare_settings(supervisor, instance, fleet, report)
            fleet = started_fleet(instance)
            all_parts = parts(instance, fleet)
        else:
            raise StackError(
                "expected supervisord to answer, found no answer, although it runs. Fix: airlane "
                "down, airlane up"
            )
        states = {name: state["statename"] for name, state in supervisor.states().items()}
        # supervisord calls a part so for its first second
        starting = {name for name, state in states.items() if state == "STARTING"}
        running = {name for name, state in states.items() if state == "RUNNING"} | starting
        changed = False
        for stage, group in groupby(all_parts, key=lambda part: part.stage):
            members = list(group)
            missing = [p for p in members if p.words and p.name not in running]
            for part in missing:
                start(supervisor, instance, fleet, part)
            is_new = missing or starting & {part.name for part in members}
            await_ready(supervisor, members if is_new else [], report)
            if stage == 0 and not instance.state().get("databases_ready"):
                _prepare_databases(instance, report)
                instance.update_state(databases_ready=True)
            changed = changed or bool(missing)
        return changed


def _start_supervisor(
    supervisor: Supervisor, instance: Instance, fleet: Fleet, report: Report
) -> list[Part]:
    _end_leftovers(instance, report)
    instance.create()
    # whoever interrupts the start from here on: the next one prepares the databases again
    instance.update_state(
        databases_ready=False, site=instance.site.model_dump(mode="json", exclude_defaults=True)
    )
    prepare_servers(instance)
    flower.write_config(instance)
    all_parts = parts(instance, fleet)
    write_settings(settings_files(supervisor, instance, fleet, all_parts))
    supervisor.start()
    return all_parts


def write_settings(files: Mapping[Path, str]) -> None:
    """Write the settings that parts are started with."""
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        write_private(path, text)


def settings_files(
    supervisor: Supervisor, instance: Instance, fleet: Fleet, all_parts: list[Part]
) -> dict[Path, str]:
    """Return the settings that the parts are started with, by file."""
    place = instance.place()
    roles: tuple[settings.Role, ...] = ("control", "worker")
    return {
        **{
            instance.airflow_config(role): settings.render_cfg(
                settings.airflow_settings(fleet, place, role)
            )
            for role in roles
        },
        instance.airflow_home / "config" / "airflow_local_settings.py": (
            settings.local_settings_source()
        ),
        instance.started_queues: place.queues_file.read_text(encoding="utf-8"),
        supervisor.config: supervisor.settings(all_parts),
    }


def _compare_settings(
    supervisor: Supervisor, instance: Instance, fleet: Fleet, report: Report
) -> None:
    wanted = settings_files(supervisor, instance, fleet, parts(instance, fleet))
    stale = [path.name for path, text in wanted.items() if content(path) != text]
    if stale:
        report(
            f"settings have changed since the start ({', '.join(stale)}); the stack goes on with "
            "the old ones. To take queues.yaml over: airlane diff, airlane apply; anything else: "
            "airlane down, airlane up"
        )


def content(path: Path) -> str | None:
    """Return what a file holds; None when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _prepare_databases(instance: Instance, report: Report) -> None:
    start = time.monotonic()
    keys = instance.keys
    postgres.ensure_logins(instance.port("postgres"), keys["postgres"], keys)
    environment = passed_on() | instance.environment("databases", "control", "operator")
    log = instance.logs / "databases.log"
    with log.open("w") as output:
        words = [sys.executable, "-m", "deploy.local.databases"]
        done = subprocess.run(
            words, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False
        )
    if done.returncode:
        raise StackError(f"preparing the databases failed ({log}):\n{last_lines(log)}")
    report(f"databases prepared ({time.monotonic() - start:.1f} s)")


def start(supervisor: Supervisor, instance: Instance, fleet: Fleet, part: Part) -> None:
    """Start a part, and note with what: as long as that is the same it need not start anew."""
    part_facts.write(instance, part.name, part_facts.facts(instance, fleet, part))
    off_duty(instance, part.name).unlink(missing_ok=True)
    supervisor.start_part(part.name)


def await_ready(supervisor: Supervisor, waiting: list[Part], report: Report) -> None:
    """Await that parts do their work.

    Raises
    ------
    StackError
        With the end of the log of one that does not.
    """
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
    if not part.words:
        return StackError(
            f"expected a server at {part.url}, as the site file says ({part.name}.url), found no "
            "answer. Fix: start it, or put the address and its login right"
        )
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
    if not instance.folder.exists():  # deleted while its parts ran
        _end_leftovers(instance, report)
        return
    with locked(instance):
        _stop(instance, report)


def reset(instance: Instance, report: Report) -> None:
    """Stop every part and delete the instance's folder."""
    with locked(instance):
        _stop(instance, report)
        shutil.rmtree(instance.folder)


def _stop(instance: Instance, report: Report) -> None:
    supervisor = Supervisor(instance)
    if supervisor.pid() is not None and supervisor.answers():
        try:
            known = parts(instance, started_fleet(instance))
        except (InstanceError, queues.QueuesError, postgres.PostgresError, OSError) as error:
            report(f"all parts stop at once, as their order is not known: {error}")
            known = []
        known.sort(key=lambda part: part.stop_order)
        for _, group in groupby(known, key=lambda part: part.stop_order):
            stop_parts(instance, supervisor, list(group), report)
        supervisor.shutdown()
        _await(lambda: not supervisor.runs(), 60, "supervisord to end")
    _end_leftovers(instance, report)
    supervisor.remove_socket()


def stop_parts(
    instance: Instance, supervisor: Supervisor, group: list[Part], report: Report
) -> None:
    """Stop parts, each within its grace, and end what tasks of them are left."""
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
    for _ in range(_ROUNDS):
        found = leftovers.find(instance.folder)
        if not found:
            return
        report(f"ending {len(found)} processes that no supervisor keeps")
        leftovers.end(found, grace=WORKER_GRACE)
    left = leftovers.find(instance.folder)
    if left:
        names = ", ".join(f"{process.pid} ({leftovers.part_of(process)})" for process in left)
        raise StackError(
            f"expected no process of {instance.folder}, found {names}. Fix: end them by hand"
        )


def _await(condition: Callable[[], bool], deadline: float, what: str) -> None:
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise StackError(
                f"expected {what} within {deadline:.0f} s, found it running. Fix: airlane down"
            )
        time.sleep(_LOOK)
