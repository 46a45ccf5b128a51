"""What state the parts of this host of a fleet are in."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import redis

from airflow_config import live_workers, queues
from airflow_config.queues import Fleet
from deploy.fleet import notes, running, serving
from deploy.fleet.host import Host
from deploy.fleet.running import Run
from deploy.local.status import PartStatus, Status
from workers.command import part_name

#: What systemd says of a unit that was made for this host.
_OURS = {"enabled", "enabled-runtime", "static"}
#: systemd's words, and those of `airlane status`, for a part that does not answer.
_STATES = {
    "active": "unresponsive",
    "activating": "starting",
    "reloading": "starting",
    "deactivating": "stopping",
    "inactive": "stopped",
    "failed": "failed",
}
_PROPERTIES = ("UnitFileState", "ActiveState", "MainPID", "NRestarts", "ActiveEnterTimestamp")
#: Seconds in which the broker answers.
_TIMEOUT = 5.0

#: Part, class, and what systemd says of the unit.
Unit = tuple[str, str | None, dict[str, str]]


def status(host: Host, run: Run | None = None) -> Status:
    """Ask systemd which parts are on this host, and each of them.

    Parameters
    ----------
    host
        This host.
    run
        Runs systemctl and returns what it printed; for tests.
    """
    run = run or running.systemctl
    fleet = queues.load(host.queues_file)
    with ThreadPoolExecutor() as threads:
        parts = list(threads.map(lambda unit: _part(host, unit, run), _units(fleet, run)))
    api = host.site.api.url
    return Status(
        healthy=all(part.state == "running" for part in parts),
        parts=parts,
        urls={"airflow": api, "flower": f"{api}/{host.site.flower.path}"},
        unserved=_unserved(host, fleet),
    )


def _units(fleet: Fleet, run: Run) -> Iterator[Unit]:
    """Yield part, class and what systemd says of each unit of this host."""
    for part in serving.PARTS:
        for class_name in fleet.workers if part == "worker" else (None,):
            unit = notes.unit_name(part, class_name)
            shown = running.show(unit, _PROPERTIES, run, "--timestamp=unix")
            if shown.get("UnitFileState") in _OURS or shown.get("ActiveState") not in {
                None,
                "inactive",
            }:
                yield part, class_name, shown


def _part(host: Host, unit: Unit, run: Run) -> PartStatus:
    part, class_name, shown = unit
    name = part_name(class_name) if class_name else part
    active = shown.get("ActiveState", "unknown")
    word = _STATES.get(active, "failed")
    if active == "active":
        fleet = serving.rendered_fleet(host, part)
        if running.state(host, fleet, part, class_name, run).ready:
            word = "running"
    entered = shown.get("ActiveEnterTimestamp", "").removeprefix("@")
    since = None
    if entered.isdecimal() and int(entered):
        since = datetime.fromtimestamp(int(entered), UTC).isoformat()
    return PartStatus(
        name=name,
        state=word,
        pid=int(shown.get("MainPID") or 0) or None,
        restarts=int(shown.get("NRestarts") or 0),
        since=since if active == "active" else None,
        url=None,
    )


def _unserved(host: Host, fleet: Fleet) -> list[str] | None:
    """Return the queues without workers; only a control host may ask the broker for them."""
    if not host.state("control").is_dir():
        return None
    url = host.broker_url("operator", host.secrets("control")["broker_operator"])
    try:
        with live_workers.connect(url, _TIMEOUT) as broker:
            return live_workers.unserved(fleet, live_workers.read(broker))
    except redis.RedisError:
        return None
