"""Hosts that are there and do no work: a worker may answer pings for hours and consume nothing.

A host is called stuck when it gives no sign of life, or when it leaves waiting tasks alone with
slots free while another host takes them. That another one does is the evidence: when nobody takes
any, the cause is elsewhere. A lone host is called stuck after a longer time, because asking for
one more is the only way to know. Once called stuck it stays so until it takes a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_config.queues import Fleet


@dataclass(frozen=True, kw_only=True)
class HostLoad:
    """What was seen of one host.

    Parameters
    ----------
    name
        As the inventory has it.
    worker_class
        The class that it serves.
    running
        Tasks that run on it, by queue.
    taken
        When it last took a task, in seconds since the epoch; None when that is not known.
    draining
        It has been told to take no more.
    lost
        It gives no sign of life, and did not say goodbye.
    """

    name: str
    worker_class: str
    running: Mapping[str, int] = field(default_factory=dict)
    taken: float | None = None
    draining: bool = False
    lost: bool = False

    @property
    def busy(self) -> int:
        """Slots that are taken."""
        return sum(self.running.values())


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """Since when a host has been called stuck, and why."""

    since: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is remembered of hosts: when each was first seen, and which are stuck."""

    seen: Mapping[str, float] = field(default_factory=dict)
    stuck: Mapping[str, Stuck] = field(default_factory=dict)


def watched(
    fleet: Fleet,
    hosts: tuple[HostLoad, ...],
    late: Mapping[str, bool],
    before: Watch,
    *,
    now: float,
    stuck_after: float,
    alone_after: float,
) -> Watch:
    """Return which hosts are stuck now.

    Parameters
    ----------
    fleet
        The queue model: which class consumes what.
    hosts
        All hosts.
    late
        By queue: whether tasks have waited in it for so long that a free slot should have
        taken them.
    before
        What the look before left.
    now
        Seconds since the epoch.
    stuck_after, alone_after
        Seconds for which a host must have taken nothing; the second when no other host could
        have shown that there is something to take.
    """
    seen = {host.name: before.seen.get(host.name, now) for host in hosts}
    quiet = {host.name: now - max(seen[host.name], host.taken or 0.0) for host in hosts}
    found: dict[str, Stuck] = {}
    for host in hosts:
        if host.draining or host.worker_class not in fleet.workers:
            continue
        known = before.stuck.get(host.name)
        if host.lost:
            found[host.name] = known or Stuck(since=now, reason="it gives no sign of life")
            continue
        if known is not None and (host.taken is None or host.taken <= known.since):
            found[host.name] = known
            continue
        queues = {name for name in fleet.consumes(host.worker_class) if late.get(name)}
        free = fleet.workers[host.worker_class].concurrency - host.busy
        if not queues or free <= 0 or quiet[host.name] <= stuck_after:
            continue
        peers = [
            other
            for other in hosts
            if other.name != host.name
            and not (other.draining or other.lost)
            and other.worker_class in fleet.workers
            and queues & set(fleet.consumes(other.worker_class))
        ]
        active = any(p.taken is not None and now - p.taken <= stuck_after for p in peers)
        if active or (not peers and quiet[host.name] > alone_after):
            names = ", ".join(sorted(queues))
            found[host.name] = Stuck(
                since=now,
                reason=f"it took nothing for {quiet[host.name]:.0f} s, with {free} slots free "
                f"while {names} waits",
            )
    return Watch(seen=seen, stuck=found)
