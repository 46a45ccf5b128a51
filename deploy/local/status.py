"""What state the stack is in, part by part."""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis

from airflow_config import live_workers
from airflow_config.queues import Fleet
from deploy.local import leftovers
from deploy.local.instance import Instance, started_fleet
from deploy.local.parts import Part, parts
from deploy.local.supervisor import Supervisor

#: supervisord's words, and ours. A part that runs but fails its probe is `unresponsive`; one that
#: runs although its supervisor was killed is `unsupervised`.
_STATES = {
    "RUNNING": "running",
    "STARTING": "starting",
    "BACKOFF": "restarting",
    "STOPPING": "stopping",
    "STOPPED": "stopped",
    "EXITED": "stopped",
    "FATAL": "failed",
    "UNSUPERVISED": "unsupervised",
}
_SPAWNED = re.compile(r" INFO spawned: '([\w-]+)' with pid \d+")
_STARTED = " INFO supervisord started with pid "
#: Seconds in which the broker answers.
_TIMEOUT = 2.0


@dataclass(frozen=True)
class PartStatus:
    """A part as `airlane status` shows it; `since` is ISO 8601 in UTC."""

    name: str
    state: str
    pid: int | None
    restarts: int
    since: str | None
    url: str | None


@dataclass(frozen=True)
class Status:
    """The whole stack.

    Parameters
    ----------
    healthy
        Whether every part runs.
    parts, urls
        Each part; where people log in.
    unserved
        Queues that no live worker consumes, highest priority first; None when the broker does
        not answer. A fleet may have such queues, so it says nothing of health.
    """

    healthy: bool
    parts: list[PartStatus]
    urls: dict[str, str]
    unserved: list[str] | None

    def to_json(self) -> dict[str, Any]:
        """Return what `airlane status --json` prints."""
        return asdict(self)


def status(instance: Instance) -> Status:
    """Ask supervisord and every part that runs.

    Raises
    ------
    deploy.local.instance.InstanceError
        When there is no instance.
    """
    fleet = started_fleet(instance)
    all_parts = parts(instance, fleet)
    supervisor = Supervisor(instance)
    runs = supervisor.pid() is not None
    states = supervisor.states() if runs else _unsupervised(instance)
    spawned = _spawned(instance.logs / "supervisord.log")
    with ThreadPoolExecutor(max_workers=len(all_parts)) as threads:
        found = list(
            threads.map(lambda part: _part(part, states.get(part.name), spawned), all_parts)
        )
    return Status(
        healthy=all(part.state == "running" for part in found),
        parts=found,
        urls={"airflow": instance.api_url, "flower": instance.flower_url},
        unserved=_unserved(instance, fleet),
    )


def _unserved(instance: Instance, fleet: Fleet) -> list[str] | None:
    try:
        with live_workers.connect(instance.broker_url("operator"), _TIMEOUT) as broker:
            return live_workers.unserved(fleet, live_workers.read(broker))
    except redis.RedisError:
        return None


def _unsupervised(instance: Instance) -> dict[str, dict[str, Any]]:
    found = sorted(leftovers.find(instance.folder), key=lambda process: -process.pid)
    # the part's first process comes last, and stays
    return {
        leftovers.part_of(process): {"statename": "UNSUPERVISED", "pid": process.pid, "start": 0}
        for process in found
    }


def _part(part: Part, state: dict[str, Any] | None, spawned: Counter[str]) -> PartStatus:
    if not part.words:  # somebody else's server, named in the site file
        answers = part.ready(0)
        return PartStatus(part.name, "running" if answers else "stopped", None, 0, None, part.url)
    if state is None:
        return PartStatus(part.name, "stopped", None, 0, None, part.url)
    word = _STATES.get(state["statename"], "failed")
    # a heartbeat of the life before would say "running" of one that has just been started again
    if word == "running" and not part.ready(state["start"]):
        word = "unresponsive"
    since = datetime.fromtimestamp(state["start"], UTC).isoformat() if state["start"] else None
    restarts = max(0, spawned[part.name] - 1)
    return PartStatus(part.name, word, state["pid"] or None, restarts, since, part.url)


def _spawned(log: Path) -> Counter[str]:
    """Count how often supervisord has started each part in its present life."""
    counts: Counter[str] = Counter()
    try:
        with log.open(errors="replace") as file:
            for line in file:
                if _STARTED in line:
                    counts.clear()
                elif found := _SPAWNED.search(line):
                    counts[found[1]] += 1
    except OSError:
        pass
    return counts
