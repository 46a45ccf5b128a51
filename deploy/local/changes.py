"""What a changed queues.yaml would change on the running stack: settings, pools, parts."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airflow_config import pools
from airflow_config.queues import Fleet
from deploy.local import part_facts, stack
from deploy.local.instance import Instance, InstanceError, started_fleet
from deploy.local.parts import Part, off_duty, parts
from deploy.local.supervisor import Supervisor
from workers.command import class_of_part

#: How a part changes: `resume` is a worker that an interrupted change left off duty.
START, RESTART, RESUME, STOP = "start", "restart", "resume", "stop"


@dataclass(frozen=True)
class SettingChange:
    """A setting of Airflow's: `file` has another value than it would get now."""

    file: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class PoolChange:
    """A pool: its slots on this machine, and what becomes of it in words; None where it is not."""

    name: str
    before: int | None
    after: int | None
    what: str


@dataclass(frozen=True)
class PartChange:
    """A part of the stack.

    Parameters
    ----------
    name
        As `airlane status` shows it.
    action
        `start`, `restart`, `resume` or `stop`.
    why
        What differs, in words.
    drain_limit_s
        Of a worker that ends: how long its tasks may take, which are awaited (seconds).
    """

    name: str
    action: str
    why: list[str]
    drain_limit_s: int | None


@dataclass(frozen=True)
class Changes:
    """All that would change; nothing of it when all three are empty."""

    settings: list[SettingChange]
    pools: list[PoolChange]
    parts: list[PartChange]
    #: Parts that go on as they are.
    unchanged: list[str]

    def __bool__(self) -> bool:
        return bool(self.settings or self.pools or self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return what `airlane diff --json` prints."""
        return {"changed": bool(self), **asdict(self)}


def running(instance: Instance) -> Supervisor:
    """Return the supervisor of a stack that is up.

    Raises
    ------
    InstanceError
        When it is down: then a start takes queues.yaml over.
    """
    supervisor = Supervisor(instance)
    if supervisor.pid() is None or not supervisor.answers():
        raise InstanceError(
            f"expected the stack in {instance.folder} to be up, found it down. Fix: airlane up, "
            "which takes queues.yaml over"
        )
    return supervisor


def compare(instance: Instance, supervisor: Supervisor, fleet: Fleet) -> Changes:
    """Compare what runs with what would run by a queue model.

    Parameters
    ----------
    instance
        With the site file's content that it was started with.
    supervisor
        Which answers.
    fleet
        The queue model that is to be.
    """
    before = started_fleet(instance)
    wanted = parts(instance, fleet)
    changed, unchanged = _parts(instance, supervisor, before, fleet, wanted)
    files = stack.settings_files(supervisor, instance, fleet, wanted)
    return Changes(
        _settings(files, set(instance.keys.values())), _pools(before, fleet), changed, unchanged
    )


def _settings(files: Mapping[Path, str], secrets: set[str]) -> list[SettingChange]:
    found = []
    for path, text in files.items():
        if path.suffix != ".cfg":
            continue
        before, after = _values(stack.content(path) or ""), _values(text)
        found += [
            SettingChange(path.name, name, *_shown(before.get(name), after.get(name), secrets))
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ]
    return found


def _shown(
    before: str | None, after: str | None, secrets: set[str]
) -> tuple[str | None, str | None]:
    """Return both values; digests where either holds a secret, for the former one is not known."""
    if not any(part_facts.holds_secret(value or "", secrets) for value in (before, after)):
        return before, after
    return before and part_facts.digest(before), after and part_facts.digest(after)


def _values(text: str) -> dict[str, str]:
    reader = configparser.ConfigParser()
    reader.read_string(text)
    return {
        f"[{section}] {key}": value
        for section in reader.sections()
        for key, value in reader.items(section)
    }


def _pools(before: Fleet, fleet: Fleet) -> list[PoolChange]:
    old = {pool.name: pool for pool in pools.desired_pools(before)}
    new = {pool.name: pool for pool in pools.desired_pools(fleet)}
    found = []
    for name, pool in new.items():
        had = old.get(name)
        if had is None:
            found.append(PoolChange(name, None, pool.slots, f"made: {pool.why}"))
        elif had.slots != pool.slots:
            what = f"follows its workers: {pool.why}"
            found.append(PoolChange(name, had.slots, pool.slots, what))
        elif had.description != pool.description:
            found.append(PoolChange(name, had.slots, pool.slots, "gets its new description"))
    for name, pool in old.items():
        if name not in new:
            what = "stays, because ended tasks name it; delete it in Airflow's UI"
            found.append(PoolChange(name, pool.slots, None, what))
    return found


def _parts(
    instance: Instance, supervisor: Supervisor, before: Fleet, fleet: Fleet, wanted: list[Part]
) -> tuple[list[PartChange], list[str]]:
    states = supervisor.states()
    found, unchanged = [], []
    for part in wanted:
        if not part.words:
            continue  # somebody else's server
        change = _part(instance, states.get(part.name), before, fleet, part)
        if change is None:
            unchanged.append(part.name)
        else:
            found.append(change)
    names = {part.name for part in wanted}
    for name in sorted(states.keys() - names):
        limit = _drain_limit(before, name)
        found.append(PartChange(name, STOP, ["no longer in queues.yaml"], limit))
    return found, unchanged


def _part(
    instance: Instance, state: Mapping[str, Any] | None, before: Fleet, fleet: Fleet, part: Part
) -> PartChange | None:
    if state is None:
        return PartChange(part.name, START, ["new in queues.yaml"], None)
    if not state["pid"]:
        return PartChange(part.name, START, [f"is {state['statename'].lower()}"], None)
    noted = part_facts.read(instance, part.name)
    if noted is None:
        why = ["it is not known what it was started with"]
    else:
        why = part_facts.differences(noted, part_facts.facts(instance, fleet, part))
    if why:
        return PartChange(part.name, RESTART, why, _drain_limit(before, part.name))
    if off_duty(instance, part.name).exists():
        return PartChange(part.name, RESUME, ["an interrupted change left it off duty"], None)
    return None


def _drain_limit(fleet: Fleet, name: str) -> int | None:
    class_name = class_of_part(name)
    if class_name is None or class_name not in fleet.workers:
        return None
    return int(fleet.drain_limit(class_name).total_seconds())
