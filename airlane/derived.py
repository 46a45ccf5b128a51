"""What follows from queues.yaml, as `airlane render` prints it: for people and for programs.

Addresses and passwords are an instance's, not the model's: `<...>` stands in their place.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_config import pools, queue_settings, settings
from airflow_config.durations import format_duration
from airflow_config.place import ROOT, Place
from airflow_config.queues import Fleet
from deploy import flower_settings
from workers import celery_settings
from workers.class_facts import preloaded
from workers.command import worker_command

#: A port that no part has, and what stands where a key or password is.
_NO_PORT, _KEY = 0, "<key>"


@dataclass(frozen=True)
class Section:
    """One kind of what is derived: `value` for programs, `text` for people."""

    value: Any
    text: str


def airflow(fleet: Fleet) -> Section:
    """Return Airflow's settings of both roles, with the reason of those that follow from it."""
    place = _place()
    roles: tuple[settings.Role, ...] = ("control", "worker")
    found = {role: settings.airflow_settings(fleet, place, role) for role in roles}
    found["control"]["api"]["port"] = "<port>"
    reasons = queue_settings.derive(fleet)
    lines = []
    for role, sections in found.items():
        lines.append(f"## {role}.cfg")
        for section, values in sections.items():
            lines += ["", f"[{section}]"]
            for key, value in values.items():
                if (section, key) in reasons:
                    derived = reasons[section, key].derived
                    places = ", ".join(dict.fromkeys(map(fleet.source.where, derived.keys)))
                    lines.append(f"# {derived.why} ({places})")
                lines.append(f"{key} = {value}")
        lines.append("")
    return Section(found, "\n".join(lines))


def _place() -> Place:
    return Place(
        home=Path("<home>"),
        root=ROOT,
        queues_file=Path("<queues.yaml>"),
        airflow_home=Path("<airflow home>"),
        logs=Path("<logs>"),
        airflow_db_url="<metadata database>",
        broker_url="<broker>",
        result_url="<broker>",
        api_url="<api server>",
        api_port=_NO_PORT,
        fernet_key=_KEY,
        jwt_secret=_KEY,
        api_secret_key=_KEY,
    )


def celery(fleet: Fleet) -> Section:
    """Return what Celery is told: all of its processes, and those of each class."""
    visible = {"visibility_timeout": queue_settings.visibility_timeout(fleet).value}
    classes = {
        name: {
            "broker_transport_options": {**visible, **celery_settings.transport_options(name)},
            "preload": list(preloaded(fleet, name)),
        }
        for name in fleet.workers
    }
    value = {"all": {**celery_settings.OWN, "broker_transport_options": visible}, **classes}
    return Section(value, json.dumps(value, indent=2))


def pool_rows(fleet: Fleet) -> Section:
    """Return the pools as they are made; their slots follow the live workers then."""
    found = pools.desired_pools(fleet)
    value = [
        {
            "name": pool.name,
            "slots": pool.slots,
            "description": pool.description,
            "include_deferred": False,
            "why": pool.why,
            "where": list(dict.fromkeys(map(fleet.source.where, pool.keys))),
        }
        for pool in found
    ]
    lines = [f"{pool.name}: {pool.slots} slots = {pool.why}" for pool in found]
    return Section(value, "\n".join(lines))


def workers(fleet: Fleet) -> Section:
    """Return the command line of each class, and how many workers there are of it."""
    value = {}
    lines = []
    for name, worker in fleet.workers.items():
        words = worker_command(fleet, name)
        drain = fleet.drain_limit(name)
        value[name] = {
            "command": words,
            "local": worker.local,
            "hosts": {"min": worker.hosts.min, "max": worker.hosts.max},
            "drain_limit_s": int(drain.total_seconds()),
            "preload": list(preloaded(fleet, name)),
            "where": fleet.source.where(("workers", name)),
        }
        shown = shlex.join(["python" if word == sys.executable else word for word in words])
        lines += [
            f"{name}: {worker.local} on one machine, {worker.hosts.min} to {worker.hosts.max} "
            f"hosts, a drain may take {format_duration(drain)}",
            f"  {shown}",
        ]
    return Section(value, "\n".join(lines))


def flower(_: Fleet) -> Section:
    """Return Flower's settings, without port and secrets, which are an instance's."""
    value = flower_settings.settings(port=_NO_PORT, password=_KEY, cookie=_KEY)
    del value["port"]
    return Section(value, "\n".join(f"{name} = {item!r}" for name, item in value.items()))


#: What `airlane render` takes -> what makes it; the schema follows from no file.
SECTIONS: Mapping[str, Callable[[Fleet], Section]] = {
    "airflow": airflow,
    "celery": celery,
    "pools": pool_rows,
    "workers": workers,
    "flower": flower,
}
