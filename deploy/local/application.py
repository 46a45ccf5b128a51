"""A changed queues.yaml is put to use on the running stack: what must restarts, no task is lost.

Settings are written first, and the supervisor learns of the new parts: whatever is interrupted
after that, the next application finds by each part's own note what is still to be done. Then, so
that nobody waits for what is not there yet: pools of new queues, new workers, the control plane,
changed workers (the most urgent class first), workers that are no more, Flower.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import psycopg

from airflow_config import queues
from airflow_config.place import ROOT, for_psycopg
from airflow_config.queues import Fleet
from deploy.local import changes, draining, part_facts, stack
from deploy.local.caller import passed_on
from deploy.local.changes import RESTART, RESUME, STOP, Changes, PartChange
from deploy.local.instance import Instance, started_fleet
from deploy.local.parts import Part, off_duty, parts
from deploy.local.stack import Report, StackError
from deploy.local.supervisor import Supervisor
from workers import duty
from workers.command import class_of_part

#: Seconds in which the metadata database is reached, and answers.
_TIMEOUT = 10

# Tasks that somebody has still to run: of a run that goes on, and not ended themselves.
_UNFINISHED = """
SELECT ti.queue, count(*) FROM task_instance ti JOIN dag_run dr USING (dag_id, run_id)
WHERE ti.queue = ANY(%(queues)s) AND (
    ti.state IN ('scheduled', 'queued', 'running', 'restarting', 'deferred', 'up_for_retry',
                 'up_for_reschedule')
    OR (ti.state IS NULL AND dr.state IN ('queued', 'running')))
GROUP BY ti.queue ORDER BY ti.queue
"""


def apply(instance: Instance, report: Report) -> bool:
    """Put queues.yaml to use on the running stack.

    Parameters
    ----------
    instance
        With the site file's content that it was started with.
    report
        Called with a line of progress.

    Returns
    -------
    bool
        True when anything was changed.

    Raises
    ------
    InstanceError
        When the stack is down.
    StackError
        When the change would lose tasks, or a part does not come up. Calling it again goes on.
    """
    fleet = queues.load()
    with stack.locked(instance):
        supervisor = changes.running(instance)
        found = changes.compare(instance, supervisor, fleet)
        # whoever interrupted the last one may have left pools unmade
        half = bool(instance.state().get("applying"))
        wanted = parts(instance, fleet)
        _refuse(instance, fleet, found, wanted)
        files = stack.settings_files(supervisor, instance, fleet, wanted)
        if not found and not half:
            # a comment may have changed: the copy is that of the file
            stack.write_settings(files)
            return False
        instance.update_state(applying=True)
        stack.write_settings(files)
        work = _Work(instance, supervisor, fleet, {part.name: part for part in wanted}, report)
        work.make_known(found)
        if found.pools or half:
            work.make_pools()
        for change in _ordered(found, fleet, [part.name for part in wanted]):
            work.carry_out(change)
        instance.update_state(applying=False)
        return True


def _refuse(instance: Instance, fleet: Fleet, found: Changes, wanted: list[Part]) -> None:
    """Refuse what cannot be done without loss, before anything is changed."""
    lowest = {part.name for part in wanted if part.stage == 0}
    servers = [change.name for change in found.parts if change.name in lowest]
    if servers:
        raise StackError(
            f"expected servers that go on as they are, found changes of {', '.join(servers)}: "
            "everything leans on them. Fix: airlane down, airlane up"
        )
    for change in found.parts:
        ends = change.action in {RESTART, STOP} and class_of_part(change.name)
        noted = part_facts.read(instance, change.name) or {}
        if ends and f"variable {duty.VARIABLE}" not in noted:
            raise StackError(
                f"expected to know how {change.name} was started, found no note of it: it cannot "
                "be taken off duty. Fix: airlane down, airlane up"
            )
    gone = sorted(started_fleet(instance).queues.keys() - fleet.queues.keys())
    unfinished = _unfinished(instance, gone) if gone else {}
    if unfinished:
        told = ", ".join(f"{count} of queue {name}" for name, count in unfinished.items())
        raise StackError(
            f"expected no unfinished tasks in queues that are taken out, found {told}: nobody "
            "would run them. Fix: let them end, or keep the queue"
        )


def _unfinished(instance: Instance, names: list[str]) -> dict[str, int]:
    address = for_psycopg(instance.place().airflow_db_url)
    limits = f"-c statement_timeout={_TIMEOUT * 1000}"
    with psycopg.connect(address, connect_timeout=_TIMEOUT, options=limits) as connection:
        return dict(connection.execute(_UNFINISHED, {"queues": names}).fetchall())


def _ordered(found: Changes, fleet: Fleet, names: list[str]) -> list[PartChange]:
    bands = list(fleet.queues)

    def place(change: PartChange) -> tuple[int, int, int]:
        class_name = class_of_part(change.name)
        if change.action == STOP:
            return 3, 0, 0
        if class_name is None:
            return (4 if change.name == "flower" else 1), 0, names.index(change.name)
        band = bands.index(fleet.workers[class_name].home)
        return (2 if change.action == RESTART else 0), band, names.index(change.name)

    return sorted(found.parts, key=place)


@dataclass(frozen=True)
class _Work:
    instance: Instance
    supervisor: Supervisor
    fleet: Fleet
    wanted: dict[str, Part]
    report: Report

    def make_known(self, found: Changes) -> None:
        """Have the supervisor know the new parts, so that `airlane up` may start them too."""
        self.supervisor.reread()
        known = self.supervisor.states()
        for change in found.parts:
            if change.name not in known:
                self.supervisor.add_part(change.name)

    def make_pools(self) -> None:
        """Make and describe pools; their slots follow the live workers."""
        environment = passed_on() | self.instance.environment("databases", "control", "operator")
        log = self.instance.logs / "databases.log"
        words = [sys.executable, "-m", "deploy.local.pools"]
        with log.open("w") as output:
            done = subprocess.run(
                words, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False
            )
        if done.returncode:
            raise StackError(f"making the pools failed ({log}):\n{stack.last_lines(log)}")
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("pool "):
                self.report(line)

    def carry_out(self, change: PartChange) -> None:
        """Change one part, and await that it does its work."""
        self.report(f"{change.name}: {change.action}")
        if change.action == RESUME:
            off_duty(self.instance, change.name).unlink(missing_ok=True)
            return
        part = self.wanted.get(change.name)
        if change.action in {RESTART, STOP}:
            if class_of_part(change.name):
                draining.drain(
                    self.instance, self.supervisor, change.name, change.drain_limit_s, self.report
                )
            ending = part or _no_more(change.name)
            stack.stop_parts(self.instance, self.supervisor, [ending], self.report)
        self.supervisor.remove_part(change.name)
        if part is None:
            part_facts.forget(self.instance, change.name)
            off_duty(self.instance, change.name).unlink(missing_ok=True)
            return
        self.supervisor.add_part(change.name)
        stack.start(self.supervisor, self.instance, self.fleet, part)
        stack.await_ready(self.supervisor, [part], self.report)


def _no_more(name: str) -> Part:
    """Return a part that the queue model does not have any more, to be stopped."""
    return Part(name=name, words=[], ready=lambda _: True, stage=0, stop_order=0, grace=20)
