"""Who decides how many hosts there are: our planner, the rule of the Helm chart, nobody."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field

from tests.benchmarks.scaling.simulated_fleet import SimulatedFleet
from workers.scaling import Load, Memory, plan
from workers.scaling_demand import QueueLoad
from workers.scaling_hosts import HostLoad
from workers.scaling_rules import RATE_WINDOW, RECENT_WINDOW, Rules

#: Seconds over which the durations of ended tasks are averaged, as `airlane autoscale` does.
SERVICE_WINDOW = 900.0


@dataclass
class Planner:
    """`workers.scaling`, as the timer runs it.

    Parameters
    ----------
    rules
        The planner's.
    """

    rules: Rules = field(default_factory=Rules)
    interval: float = 15.0
    grace: float | None = None
    _memory: Memory | None = None
    #: (arrived, ended, seconds of these) of each look, by queue.
    _looks: deque[tuple[Counter[str], Counter[str], Counter[str]]] = field(
        default_factory=lambda: deque(maxlen=int(SERVICE_WINDOW / 15))
    )

    def look(self, fleet: SimulatedFleet) -> None:
        """Plan, and carry it out."""
        self._looks.append(
            (Counter(fleet.arrived), Counter(fleet.ended), Counter(fleet.ended_seconds))
        )
        found = plan(fleet.fleet, self._load(fleet), self._memory, self.rules)
        self._memory = found.memory
        by_name = {host.name: host for host in fleet.hosts}
        for made in found.classes:
            for name in made.remove:
                fleet.drain(by_name[name])
            fleet.set_count(made.name, made.target)

    def _load(self, fleet: SimulatedFleet) -> Load:
        now = fleet.now
        lasting: Counter[str] = Counter()
        hosts = []
        for host in fleet.hosts:
            if host.state == "booting":
                continue  # nothing tells of itself yet
            running = Counter(task.run.job.queue for task in host.tasks)
            for task in host.tasks:
                queue = task.run.job.queue
                lasting[queue] += now - task.start > self.rules.goal(fleet.fleet.queues[queue])
            hosts.append(
                HostLoad(
                    name=host.name,
                    worker_class=host.worker_class,
                    running=running,
                    taken=host.taken,
                    draining=host.state == "draining",
                )
            )
        queues = {name: self._queue(fleet, name, lasting[name]) for name in fleet.fleet.queues}
        return Load(time=now, queues=queues, hosts=tuple(hosts))

    def _queue(self, fleet: SimulatedFleet, name: str, lasting: int) -> QueueLoad:
        heads = [line[0].ready for line in (fleet.queued[name], fleet.scheduled[name]) if line]
        ended = sum(look[1][name] for look in self._looks)
        return QueueLoad(
            waiting=len(fleet.queued[name]) + len(fleet.scheduled[name]),
            running=fleet.running[name],
            lasting=lasting,
            oldest=fleet.now - min(heads) if heads else 0.0,
            rate=self._arrived(name, RATE_WINDOW) / RATE_WINDOW,
            recent=self._arrived(name, RECENT_WINDOW) / RECENT_WINDOW,
            service=sum(look[2][name] for look in self._looks) / ended if ended else None,
        )

    def _arrived(self, name: str, window: float) -> int:
        looks = list(self._looks)[-int(window / self.interval) :]
        return sum(look[0][name] for look in looks)


@dataclass
class KedaRule:
    """The Helm chart's `ceil((queued + running) / concurrency)`, through a HorizontalPodAutoscaler.

    From apache/airflow, chart/templates/workers/worker-kedaautoscaler.yaml and values.yaml: the
    query above with `targetQueryValue: "1"`; `pollingInterval` and `cooldownPeriod` concern only
    the step between none and one, which `hosts: {min: 1}` leaves out. From Kubernetes: a look each
    15 s; no change within a tenth; out by 4 pods or 100 % in 15 s, whichever is more; in to the
    highest count asked for in 300 s. `terminationGracePeriodSeconds` is 600. A StatefulSet gives
    up its newest pod first, whatever that runs.

    Each worker set has the query for its own queue, which is kinder than the default: that
    counts all queues for every set.
    """

    interval: float = 15.0
    grace: float | None = 600.0
    stabilization: float = 300.0
    _asked: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)

    def look(self, fleet: SimulatedFleet) -> None:
        """Apply the rule to each worker class."""
        for name, worker in fleet.fleet.workers.items():
            current = len(fleet.present(name))
            count = fleet.sent(worker.home) + fleet.running[worker.home]
            desired = math.ceil(count / worker.concurrency)
            if current and abs(desired / current - 1) <= 0.1:
                desired = current
            desired = min(max(desired, worker.hosts.min), worker.hosts.max)
            asked = self._asked.setdefault(name, deque())
            asked.append((fleet.now, desired))
            while asked[0][0] < fleet.now - self.stabilization:
                asked.popleft()
            if desired > current:
                desired = min(desired, max(current + 4, 2 * current))
            else:
                desired = min(current, max(count for _, count in asked))
            fleet.set_count(name, desired)


@dataclass
class Fixed:
    """As many hosts as queues.yaml allows, always: what keeping promises costs without scaling."""

    interval: float = 15.0
    grace: float | None = None

    def look(self, fleet: SimulatedFleet) -> None:
        """Have all hosts there are."""
        for name, worker in fleet.fleet.workers.items():
            fleet.set_count(name, worker.hosts.max)
