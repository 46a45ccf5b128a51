"""How many hosts each worker class should have: a plan, and in words why.

A plain calculation: what was seen goes in, with what is remembered of earlier looks, and a plan
comes out. Each time, for each worker class:

1. Slots (`scaling_demand`) = what flows in, expected for when a new host is ready
   + headroom, where a promise is kept (square root staffing)
   + what waits, to be cleared within what is left of its queue's goal
   + what is held by tasks that go on for long, and by tasks of queues that the class lends to.
2. Hosts = slots / concurrency, rounded up, within `hosts: {min, max}` of queues.yaml.
3. More than there are: at once. Fewer: only when that many, with a margin, were enough at every
   look of a lull, and never fewer than what runs needs.
4. A host that takes no work while others do (`scaling_hosts`) is not counted, and goes first.

The name: `airflow_config.capacity` has the slots of pools follow the workers that are there; this
says how many should be there, which is what `airlane scale` then does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

from airflow_config.queue_entries import WorkerClass
from airflow_config.queues import Fleet
from workers.scaling_demand import QueueLoad, demand
from workers.scaling_hosts import HostLoad, Watch, watched
from workers.scaling_rules import Rules


@dataclass(frozen=True, kw_only=True)
class Load:
    """What was seen at one moment.

    Parameters
    ----------
    time
        Seconds since the epoch.
    queues
        By name; a queue that is missing is empty.
    hosts
        All that run workers of a class, whatever their state.
    """

    time: float
    queues: Mapping[str, QueueLoad] = field(default_factory=dict)
    hosts: tuple[HostLoad, ...] = ()

    def of(self, queue: str) -> QueueLoad:
        """Return what was seen of a queue."""
        return self.queues.get(queue) or QueueLoad()


@dataclass(frozen=True, kw_only=True)
class ClassMemory:
    """What is remembered of a class.

    Parameters
    ----------
    coming, asked_at
        Hosts that were asked for and are still to come, and when the last of them were.
    since
        Since when the class has been watched without a gap.
    enough
        (time, hosts that would have been enough) of each look of the lull.
    """

    coming: int = 0
    asked_at: float = 0.0
    since: float = 0.0
    enough: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a plan leaves for the next one.

    Parameters
    ----------
    time
        When that was.
    classes
        By worker class.
    service
        By queue: how long tasks took when some last ended.
    watch
        Of the hosts.
    """

    time: float | None = None
    classes: Mapping[str, ClassMemory] = field(default_factory=dict)
    service: Mapping[str, float] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)


@dataclass(frozen=True, kw_only=True)
class ClassPlan:
    """What one class has, what it should have, and why.

    Parameters
    ----------
    name
        A worker class of queues.yaml.
    ready, booting
        Hosts that take work; hosts that were asked for and are still to come.
    target
        Hosts that it should have.
    slots
        That the load needs.
    reasons
        One sentence each.
    remove
        Hosts to drain, in this order: those that are stuck, then until `target` are left.
    draining
        Hosts that take nothing new already; they are none of the others.
    """

    name: str
    ready: int
    booting: int
    target: int
    slots: float
    reasons: tuple[str, ...]
    remove: tuple[str, ...] = ()
    draining: tuple[str, ...] = ()

    @property
    def change(self) -> int:
        """Hosts to add, or, below zero, to take away."""
        return self.target - self.ready - self.booting


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of all classes, and what to remember when it is carried out."""

    classes: tuple[ClassPlan, ...]
    memory: Memory


def plan(
    fleet: Fleet, load: Load, memory: Memory | None = None, rules: Rules | None = None
) -> Plan:
    """Say how many hosts each worker class should have.

    Parameters
    ----------
    fleet
        The queue model, with `hosts: {min, max}` of each class.
    load
        What is seen now.
    memory
        What the plan before left behind; without one no host is taken away for a lull.
    rules
        What to go by.
    """
    rules = rules or Rules()
    before = memory or Memory()
    memory = _looked(fleet, load, before, rules)
    new = memory.watch.seen.keys() - before.watch.seen.keys()
    plans, classes = [], {}
    for worker in fleet.workers.values():
        planner = _ClassPlanner(fleet, worker, load, memory, rules, new=new)
        made, classes[worker.name] = planner.plan()
        plans.append(made)
    return Plan(classes=tuple(plans), memory=replace(memory, classes=classes))


def _looked(fleet: Fleet, load: Load, memory: Memory, rules: Rules) -> Memory:
    """Return the memory with what concerns all classes."""
    classes = memory.classes
    if memory.time is None or not 0 <= load.time - memory.time <= rules.gap:
        # what was enough while nobody looked is not known
        classes = {n: replace(known, since=load.time, enough=()) for n, known in classes.items()}
    known = {name: seen for name, seen in load.queues.items() if name in fleet.queues}
    ended = {name: seen.service for name, seen in known.items() if seen.service is not None}
    late = {
        name: seen.waiting > 0 and seen.oldest > min(rules.stuck, rules.late(fleet.queues[name]))
        for name, seen in known.items()
    }
    watch = watched(
        fleet,
        load.hosts,
        late,
        memory.watch,
        now=load.time,
        stuck_after=rules.stuck,
        alone_after=rules.patience * rules.boot,
    )
    return Memory(time=load.time, classes=classes, service={**memory.service, **ended}, watch=watch)


class _ClassPlanner:
    """Plans one class."""

    def __init__(
        self,
        fleet: Fleet,
        worker: WorkerClass,
        load: Load,
        memory: Memory,
        rules: Rules,
        *,
        new: Set[str],
    ) -> None:
        self._fleet, self._worker, self._rules, self._now = fleet, worker, rules, load.time
        self._queue = fleet.queues[worker.home]
        self._load = load.of(worker.home)
        self._service = memory.service.get(worker.home)
        self._lull = rules.lull_of(self._queue, self._service)
        self._memory = memory.classes.get(worker.name, ClassMemory(since=load.time))
        mine = [host for host in load.hosts if host.worker_class == worker.name]
        stuck = memory.watch.stuck
        self._came = sum(host.name in new for host in mine)
        self._stuck = {host.name: stuck[host.name] for host in mine if host.name in stuck}
        self._ready = [host for host in mine if not host.draining and host.name not in stuck]
        self._draining = tuple(
            sorted(host.name for host in mine if host.draining and host.name not in stuck)
        )
        self._reasons: list[str] = []

    def plan(self) -> tuple[ClassPlan, ClassMemory]:
        """Return the plan, and what to remember."""
        had, ready = self._memory, len(self._ready)
        missing = max(0, had.coming - self._came)
        expected = self._now - had.asked_at <= self._rules.patience * self._rules.boot
        booting = missing if expected else 0
        if missing and not expected:
            self._say(f"{missing} that were asked for did not come")
        for name, stuck in self._stuck.items():
            self._say(f"{name} is not counted: {stuck.reason}")
        slots = self._slots()
        if not slots:
            self._say("nothing waits, runs or comes")
        wanted = self._unless_stalled(self._hosts(slots), ready + booting)
        self._limits(self._unbounded(slots))
        # with the margin, so that what is taken away is not asked for again at once
        enough = max(wanted, self._hosts(slots, self._rules.margin))
        begin = self._now - self._lull
        earlier = [(time, count) for time, count in had.enough if begin <= time < self._now]
        recent = (*earlier, (self._now, enough))
        target = self._target(wanted, ready + booting, max(count for _, count in recent))
        coming = max(0, target - ready)
        memory = replace(had, enough=recent, coming=coming)
        if coming and (coming != booting or not expected):
            memory = replace(memory, asked_at=self._now)
        made = ClassPlan(
            name=self._worker.name,
            ready=ready,
            booting=booting,
            target=target,
            slots=round(slots, 2),
            reasons=tuple(self._reasons),
            remove=self._remove(target),
            draining=self._draining,
        )
        return made, memory

    def _say(self, reason: str) -> None:
        self._reasons.append(reason)

    def _slots(self) -> float:
        home = self._worker.home
        found = demand(
            self._queue,
            self._load,
            self._rules,
            service=self._service,
            share=_share(self._fleet, self._worker),
            guests=sum(
                count
                for host in self._ready
                for queue, count in host.running.items()
                if queue != home
            ),
        )
        self._reasons.extend(found.reasons)
        return found.slots

    def _hosts(self, slots: float, margin: float = 0.0) -> int:
        return self._within(self._unbounded(slots, margin))

    def _unbounded(self, slots: float, margin: float = 0.0) -> int:
        # rounded first: the dust of floating point must not ask for a whole host
        return math.ceil(round(slots / self._worker.concurrency + margin, 9))

    def _within(self, hosts: int) -> int:
        limits = self._worker.hosts
        return min(max(hosts, limits.min), limits.max)

    def _limits(self, needed: int) -> None:
        limits = self._worker.hosts
        if needed > limits.max:
            self._say(f"{needed} hosts would be needed; queues.yaml allows {limits.max}")
        elif needed < limits.min:
            self._say(f"queues.yaml wants {limits.min} at least")

    def _unless_stalled(self, wanted: int, current: int) -> int:
        """Return no more than there are while their slots stay free: it is not hosts that lack."""
        free = sum(max(0, self._worker.concurrency - host.busy) for host in self._ready)
        waits = self._load.oldest > self._rules.stuck
        if not waits or free < self._worker.concurrency or wanted <= current:
            return wanted
        self._say(
            f"{free} slots are free while tasks wait: more hosts would not help; look at the "
            "scheduler and at limits of the DAGs"
        )
        return self._within(current)

    def _target(self, wanted: int, current: int, peak: int) -> int:
        limits, lull = self._worker.hosts, self._lull
        if wanted > current:
            self._say(f"{wanted} hosts of {self._worker.concurrency} slots are needed")
            return wanted
        if current > limits.max:
            self._say(f"queues.yaml allows {limits.max}")
            current = limits.max
        # tasks can't move: as many slots stay as run tasks now, on hosts that are in order
        busy = math.ceil(sum(host.busy for host in self._ready) / self._worker.concurrency)
        left = self._within(max(peak, busy))
        if left >= current:
            return current
        watched_for = self._now - self._memory.since
        if watched_for < lull:
            self._say(f"{left} would do; watched for {watched_for:.0f} s of {lull:.0f} s")
            return current
        self._say(f"{left} were enough for {lull:.0f} s")
        return left

    def _remove(self, target: int) -> tuple[str, ...]:
        idlest = sorted(self._ready, key=lambda host: (host.busy, host.name))
        surplus = idlest[: max(0, len(self._ready) - target)]
        return (*sorted(self._stuck), *(host.name for host in surplus))


def _share(fleet: Fleet, worker: WorkerClass) -> float:
    """Return a class's share of its home queue, of which another class may be at home too."""
    sizes = {
        name: other.concurrency * other.hosts.max
        for name, other in fleet.workers.items()
        if other.home == worker.home
    }
    return sizes[worker.name] / sum(sizes.values())
