"""What each part was started with: as long as that is the same, it need not be started anew.

A part reads its command line, its environment, some settings and some of the queue model when it
starts, and keeps them. All of it is noted at the start, in `run/parts/NAME.json`, and compared with
what a start would give it now.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_config import queue_settings, settings
from airflow_config.queues import Fleet
from deploy.files import write_private
from deploy.local.instance import Instance
from deploy.local.parts import Part
from workers.class_facts import class_facts
from workers.command import class_of_part

#: What a part depends on -> its value. Keys of the model are called as in queues.yaml.
Facts = dict[str, str]

#: Parts that read none of Airflow's settings although their environment names the file.
_WITHOUT_SETTINGS = {"relay"}

#: Of each queue, what the parts of the control plane read and keep. Others read none of it.
_OF_QUEUES = {
    # its loop: whose runs go first; pools
    "scheduler": ("priority", "default"),
    # the policies
    "dag-processor": ("priority", "task_timeout", "retries", "allowed_dags", "default"),
}


def facts(instance: Instance, fleet: Fleet, part: Part) -> Facts:
    """Return what a part would be started with.

    Parameters
    ----------
    instance
        Whose part it is.
    fleet
        The queue model.
    part
        One of `parts(instance, fleet)`.
    """
    found = {"command": shlex.join(part.words)}
    found |= {f"variable {name}": value for name, value in part.environment.items()}
    found |= _settings(instance, fleet, part)
    found |= {
        f"{section}.{key}": value
        for section, entries in _model(fleet, part.name).items()
        for key, value in _flat(entries).items()
    }
    return found


def _settings(instance: Instance, fleet: Fleet, part: Part) -> Facts:
    config = part.environment.get("AIRFLOW_CONFIG")
    if config is None or part.name in _WITHOUT_SETTINGS:
        return {}
    role: settings.Role = (
        "control" if config == str(instance.airflow_config("control")) else "worker"
    )
    kind = "worker" if class_of_part(part.name) else part.name
    derived = queue_settings.derive(fleet)
    secrets = set(instance.keys.values())
    found = {}
    for section, values in settings.airflow_settings(fleet, instance.place(), role).items():
        for key, value in values.items():
            readers = derived[section, key].readers if (section, key) in derived else None
            if readers is None or kind in readers:
                found[f"[{section}] {key}"] = _shown(value, secrets)
    return found


def _shown(value: str, secrets: set[str]) -> str:
    """Return a setting, or a digest of one that holds a password or a key."""
    return digest(value) if holds_secret(value, secrets) else value


def holds_secret(value: str, secrets: set[str]) -> bool:
    """Tell whether a value has a password or a key in it."""
    return any(secret in value for secret in secrets)


def digest(value: str) -> str:
    """Return what is shown of a value that holds a secret."""
    return f"digest {hashlib.sha256(value.encode()).hexdigest()[:16]}"


def _model(fleet: Fleet, name: str) -> dict[str, dict[str, Any]]:
    """Return what a part reads of the model: section -> entry -> its keys."""
    class_name = class_of_part(name)
    if class_name is not None and class_name in fleet.workers:
        found = class_facts(fleet, class_name)
        # the command line stands in the facts already
        own = {"preload": found["preload"]}
        default = {"default": found["default_queue"]}
        return {"queues": {**found["queues"], **default}, "workers": {class_name: own}}
    if name == "flower":
        # it asks once, when it starts, which queues the workers serve
        served = {
            other: {"queues": list(fleet.consumes(other)), "local": worker.local}
            for other, worker in fleet.workers.items()
        }
        return {"workers": served}
    if name not in _OF_QUEUES:
        return {}
    queues = {
        queue.name: queue.model_dump(mode="json", include=set(_OF_QUEUES[name]))
        | {"urgent": queue.promise is not None, "max_active_runs": queue.active_runs}
        for queue in fleet.queues.values()
    }
    if name == "scheduler":
        for queue in queues.values():
            del queue["max_active_runs"]
    # the slots of the largest fleet: pools, and the policies' bound of a DAG's active tasks
    largest = fleet.largest()
    workers = {
        other: {
            "queues": list(fleet.consumes(other)),
            "concurrency": worker.concurrency,
            "hosts.max": largest[other],
        }
        for other, worker in fleet.workers.items()
    }
    return {"queues": queues, "workers": workers}


def _flat(value: Mapping[str, Any], prefix: str = "") -> Facts:
    found: Facts = {}
    for key, item in value.items():
        if isinstance(item, dict):
            found |= _flat(item, f"{prefix}{key}.")
        elif isinstance(item, str):
            found[f"{prefix}{key}"] = item
        else:
            found[f"{prefix}{key}"] = json.dumps(item)
    return found


def differences(before: Facts, after: Facts) -> list[str]:
    """Return in words what differs: `queues.batch.task_timeout: 6h -> 8h`."""
    found = []
    had, has = _entries(before), _entries(after)
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        entry = _entry(key)
        if old == new:
            continue
        if entry in had ^ has:
            found.append(f"{entry}: {'new' if entry in has else 'no more'}")
        elif key == "command" and old and new:
            found.append(f"command: {_words(old, new)}")
        else:
            found.append(f"{key}: {old or 'nothing'} -> {new or 'nothing'}")
    return list(dict.fromkeys(found))


def _entry(key: str) -> str | None:
    """Return the entry of the queue model that a key belongs to, such as `queues.batch`."""
    section, _, rest = key.partition(".")
    name, inside, _ = rest.partition(".")
    return f"{section}.{name}" if section in {"queues", "workers"} and inside else None


def _entries(found: Facts) -> set[str | None]:
    return {_entry(key) for key in found} - {None}


def _words(old: str, new: str) -> str:
    """Return the words of two command lines that differ, each with the option before it."""
    before, after = shlex.split(old), shlex.split(new)
    if len(before) != len(after):
        return f"{old} -> {new}"
    pairs = [
        f"{before[index - 1]} {one} -> {other}" if index else f"{one} -> {other}"
        for index, (one, other) in enumerate(zip(before, after, strict=True))
        if one != other
    ]
    return ", ".join(pairs)


def _file(instance: Instance, name: str) -> Path:
    return instance.run / "parts" / f"{name}.json"


def write(instance: Instance, name: str, found: Facts) -> None:
    """Note what a part is started with."""
    path = _file(instance, name)
    path.parent.mkdir(exist_ok=True, mode=0o700)
    write_private(path, json.dumps(found, indent=2) + "\n")


def read(instance: Instance, name: str) -> Facts | None:
    """Return what a part was started with; None when that is not known."""
    try:
        found = json.loads(_file(instance, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def forget(instance: Instance, name: str) -> None:
    """Take away the note of a part that is no more."""
    _file(instance, name).unlink(missing_ok=True)
