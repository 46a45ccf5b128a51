"""What a part notes of itself when it starts, and what it would note now.

The two differ when the part must be started anew: it runs another release, or other settings than
those that lie there. Kept in the unit's own runtime folder, so that it goes with the part.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from airflow_config import release
from airflow_config.queues import Fleet
from deploy.fleet import serving
from deploy.fleet.host import Host
from workers.command import part_name

#: In the runtime folder of the unit.
FILE = "part.json"
#: Where systemd makes the units' runtime folders, `RuntimeDirectory=airlane/NAME`.
RUNTIME = Path("/run/airlane")
#: Where Ansible writes the units.
UNITS = Path("/etc/systemd/system")
#: What differs from one release to the next, and is compared as the release.
_OF_RELEASE = {release.VARIABLE, "AIRFLOW__CORE__DAGS_FOLDER", "PYTHONPATH"}


@dataclass(frozen=True)
class Note:
    """What a part runs.

    Parameters
    ----------
    release
        Its release.
    settings
        Digest of all settings that it reads.
    unit
        Digest of its unit's file, without what counts at once (drop-ins).
    pid, started
        Its main process, and when that started (seconds since the epoch).
    """

    release: str
    settings: str
    unit: str
    pid: int
    started: float


def unit_name(part: str, class_name: str | None) -> str:
    """Return the name of a part's unit."""
    return f"airlane-worker@{class_name}.service" if class_name else f"airlane-{part}.service"


def folder(part: str, class_name: str | None) -> Path:
    """Return the runtime folder of a part's unit."""
    return RUNTIME / (part_name(class_name) if class_name else part)


def note(host: Host, fleet: Fleet, part: str, class_name: str | None) -> Note:
    """Return what a part would note if this process became it now."""
    return Note(
        release=release.current(),
        settings=_settings(host, fleet, part, class_name),
        unit=_unit(part),
        pid=os.getpid(),
        started=time.time(),
    )


def write(found: Note, runtime: Path) -> None:
    """Leave a note; where there is no runtime folder (a part by hand) nothing is noted."""
    if runtime.is_dir():
        (runtime / FILE).write_text(json.dumps(asdict(found)) + "\n", encoding="utf-8")


def read(runtime: Path) -> Note | None:
    """Return the note of the part that runs; None when there is none that can be read."""
    try:
        return Note(**json.loads((runtime / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def differences(runs: Note, wanted: Note) -> list[str]:
    """Return what of a running part is not as it should be."""
    kinds = ("release", "settings", "unit")
    return [kind for kind in kinds if getattr(runs, kind) != getattr(wanted, kind)]


def _settings(host: Host, fleet: Fleet, part: str, class_name: str | None) -> str:
    # The caller's own variables say nothing of the part.
    program = serving.program(host, fleet, part, class_name, {})
    environment = {k: v for k, v in program.environment.items() if k not in _OF_RELEASE}
    seen = hashlib.sha256()
    # without the interpreter, which is the release's
    _add(seen, "program", json.dumps([program.words[1:], sorted(environment.items())]))
    if class_name is None and serving.PARTS[part] == "control":
        # the model rather than its file: a comment restarts nothing
        model = {
            "queues": [queue.model_dump(mode="json") for queue in fleet.queues.values()],
            "workers": [worker.model_dump(mode="json") for worker in fleet.workers.values()],
        }
        _add(seen, "model", json.dumps(model))
    for file in _files(host, part, class_name, program.environment.get("AIRLANE_SECRETS")):
        _add(seen, str(file), file.read_text(encoding="utf-8") if file.exists() else "")
    return seen.hexdigest()


def _add(seen: hashlib._Hash, name: str, text: str) -> None:
    # lengths part one from the next
    for value in (name, text):
        seen.update(f"{len(value)}:{value}".encode())


def _files(host: Host, part: str, class_name: str | None, secrets: str | None) -> list[Path]:
    """Return the files that a part reads beside queues.yaml, always in the same order."""
    role = serving.PARTS[part]
    found = [
        host.airflow_config(role),
        host.airflow_home(role) / "config" / "airflow_local_settings.py",
    ]
    if part == "flower":
        found.append(host.state(role) / "flower.py")
    if part == "log-shipper":
        found.append(host.state(role) / "shipping.json")
    if class_name:
        # holds what the class depends on, of the queue model and of airflow.cfg
        found = [host.state(role) / "classes" / f"{class_name}.json"]
    if secrets:
        found += sorted(Path(secrets).glob("*"))
    return found


def _unit(part: str) -> str:
    name = "airlane-worker@.service" if part == "worker" else unit_name(part, None)
    try:
        return hashlib.sha256((UNITS / name).read_bytes()).hexdigest()
    except OSError:
        return ""
