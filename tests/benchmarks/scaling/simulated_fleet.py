"""A fleet in discrete events: hosts that boot, take tasks, get stuck, drain and go.

Only what scaling decides is simulated. Both sides have the same overhead between dependent
tasks, the same boot time, the same faults, a worker class for each queue, and urgent tasks first
wherever several wait for the same slots. What differs is how a backlog waits, and who takes it:

- late binding: a backlog waits in the database, hosts of a class that lends take urgent work first;
- stock pools: all queues share one pool, and a worker set consumes its own queue.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_config.queues import Fleet
from tests.benchmarks.scaling.parts import Host, Outcome, Run, Task
from tests.benchmarks.scaling.traces import DAY, Job, Trace
from workers.scaling_rules import Rules

#: Seconds from the end of a task to when its successor can be taken, for both sides.
OVERHEAD = 0.3
#: Seconds from asking for a host to its first task: a VM and a play.
BOOT = (75.0, 120.0)
#: Seconds after which Airflow notices that a killed task is gone, and runs it again.
NOTICE = 300.0
#: Seconds after the day in which the last work may end; hosts count as long.
EVENING = 7_200.0


class Scaler(Protocol):
    """Who decides how many hosts there are."""

    #: Seconds between looks.
    interval: float
    #: Seconds after which a host that drains is killed; None to wait for its tasks.
    grace: float | None

    def look(self, fleet: SimulatedFleet) -> None:
        """Look at the fleet, and ask for hosts or drain some."""


@dataclass(frozen=True, kw_only=True)
class Pools:
    """How tasks get to workers.

    Parameters
    ----------
    shared
        Slots of the one pool that all queues share; None with a pool for each queue.
    lends
        Whether classes take the tasks of queues that they lend to.
    """

    shared: int | None
    lends: bool


class SimulatedFleet:
    """Runs a day.

    Parameters
    ----------
    fleet
        The queue model.
    trace
        The day.
    pools
        How tasks get to workers.
    scaler
        Who decides how many hosts there are.
    length
        Seconds after which it is over, and hosts are no longer paid for.
    """

    def __init__(
        self,
        fleet: Fleet,
        trace: Trace,
        pools: Pools,
        scaler: Scaler,
        length: float = DAY + EVENING,
    ) -> None:
        self.fleet, self.now, self.outcome = fleet, 0.0, Outcome()
        self._scaler, self._limit, self._length = scaler, pools.shared, length
        self._random = random.Random(trace.day.seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order, self._numbers = itertools.count(), itertools.count(1)
        self.hosts: list[Host] = []
        self.scheduled: dict[str, deque[Task]] = {name: deque() for name in fleet.queues}
        self.queued: dict[str, deque[Task]] = {name: deque() for name in fleet.queues}
        self.running: Counter[str] = Counter()
        #: Since the last look, by queue: tasks that became ready, that ended, and for how long they
        #: ran, each up to the goal.
        self.arrived: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.ended_seconds: Counter[str] = Counter()
        self._goals = {name: Rules().goal(queue) for name, queue in fleet.queues.items()}
        self._sent = 0
        self._consumes = {
            name: fleet.consumes(name) if pools.lends else (worker.home,)
            for name, worker in fleet.workers.items()
        }
        # a class at home first, then those that lend
        self._serve = {
            queue: sorted(
                (name for name, served in self._consumes.items() if queue in served),
                key=lambda name, queue=queue: fleet.workers[name].home != queue,
            )
            for queue in fleet.queues
        }
        #: Hosts with a free slot, by class, the longest free first.
        self._free: dict[str, dict[Host, None]] = {name: {} for name in fleet.workers}
        self._active = 0
        for job in trace.jobs:
            self._at(job.time, self._begin, job)
        for fault in trace.faults:
            self._at(fault.time, self._stick, fault.worker_class)

    def run(self) -> Outcome:
        """Run the day and return what it came to."""
        for name, worker in self.fleet.workers.items():
            for _ in range(worker.hosts.min):
                self._booted(self._ask(name))
        self._at(0.0, self._look)
        while self._events:
            time, _, act, arguments = heapq.heappop(self._events)
            if time > self._length:
                break
            self.now = time
            act(*arguments)
        self.now = self._length
        for host in self.hosts:
            self._count(host)
        self.outcome.unfinished = self._active
        return self.outcome

    # what a scaler asks for

    def present(self, worker_class: str) -> list[Host]:
        """Return the class's hosts that are not draining, the oldest first."""
        return [h for h in self.hosts if h.worker_class == worker_class and h.state != "draining"]

    def set_count(self, worker_class: str, count: int) -> None:
        """Have as many hosts of a class; the newest go first."""
        here = self.present(worker_class)
        for _ in range(count - len(here)):
            host = self._ask(worker_class)
            self._at(self.now + self._random.uniform(*BOOT), self._booted, host)
        for host in here[count:]:
            self.drain(host)

    def drain(self, host: Host) -> None:
        """Have a host take no more tasks, and go when those that run have ended."""
        self._free[host.worker_class].pop(host, None)
        host.state = "draining"
        if not host.tasks:
            self._gone(host)
        elif self._scaler.grace is not None:
            self._at(self.now + self._scaler.grace, self._kill, host)

    def sent(self, queue: str) -> int:
        """Return the tasks of a queue that Airflow has queued, as its database has them."""
        waiting = len(self.queued[queue])
        if self._limit is not None:
            return waiting
        # a pool for each queue: no more than the slots of the workers that consume it
        slots = sum(
            host.slots
            for host in self.hosts
            if host.state == "ready" and queue in self._consumes[host.worker_class]
        )
        return min(waiting, max(0, slots - self.running[queue]))

    # events

    def _at(self, time: float, act: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (time, next(self._order), act, arguments))

    def _look(self) -> None:
        self._scaler.look(self)
        for counter in (self.arrived, self.ended, self.ended_seconds):
            counter.clear()
        counts = Counter(host.worker_class for host in self.hosts)
        self.outcome.hosts.append((self.now, dict(counts)))
        self._at(self.now + self._scaler.interval, self._look)

    def _begin(self, job: Job) -> None:
        self._active += 1
        self._stage(Run(job))

    def _stage(self, run: Run) -> None:
        widths = run.job.stages[run.stage]
        run.left = len(widths)
        for seconds in widths:
            self._ready(Task(run, seconds, self.now))

    def _ready(self, task: Task) -> None:
        queue = task.run.job.queue
        self.arrived[queue] += 1
        self.scheduled[queue].append(task)
        self._send()

    def _send(self) -> None:
        for queue, tasks in self.scheduled.items():  # the most urgent first
            while tasks and (self._limit is None or self._sent < self._limit):
                self._sent += 1
                task = tasks.popleft()
                host = self._free_host(queue)
                if host is None:
                    self.queued[queue].append(task)
                else:
                    self._start(task, host)

    def _free_host(self, queue: str) -> Host | None:
        for name in self._serve[queue]:
            if self._free[name]:
                return next(iter(self._free[name]))
        return None

    def _start(self, task: Task, host: Host) -> None:
        run, wait = task.run, self.now - task.ready
        task.start, task.host, host.taken = self.now, host, self.now
        host.tasks[task] = None
        # the next task goes to another host: workers that wait for messages take turns
        self._free[host.worker_class].pop(host, None)
        if len(host.tasks) < host.slots:
            self._free[host.worker_class][host] = None
        self.running[run.job.queue] += 1
        if run.job.queue == "batch":
            self.outcome.batch_waits.append(wait)
        promise = self.fleet.queues[run.job.queue].promise
        if promise and run.stage and wait + OVERHEAD > promise.gap.total_seconds():
            run.late_gap = True
        self._at(self.now + task.seconds, self._end, task, host)

    def _end(self, task: Task, host: Host) -> None:
        if task.host is not host:
            return  # it was killed, and runs or waits elsewhere
        run, queue = task.run, task.run.job.queue
        host.tasks.pop(task, None)
        self.running[queue] -= 1
        self._sent -= 1
        self.ended[queue] += 1
        self.ended_seconds[queue] += min(task.seconds, self._goals[queue])
        promise = self.fleet.queues[queue].promise
        if promise and self.now - task.ready > promise.task.total_seconds():
            run.late_task = True
        run.left -= 1
        if not run.left:
            run.stage += 1
            if run.stage < len(run.job.stages):
                self._at(self.now + OVERHEAD, self._stage, run)
            else:
                self._ended(run)
        if host.state == "draining" and not host.tasks:
            self._gone(host)
        else:
            self._take(host)
        self._send()

    def _take(self, host: Host) -> None:
        """Have a host take what waits for it, the most urgent first."""
        if host.state != "ready" or host.stuck:
            return
        for queue in self._consumes[host.worker_class]:
            while self.queued[queue] and len(host.tasks) < host.slots:
                self._start(self.queued[queue].popleft(), host)
        if len(host.tasks) < host.slots:
            self._free[host.worker_class][host] = None

    def _ended(self, run: Run) -> None:
        self._active -= 1
        promise = self.fleet.queues[run.job.queue].promise
        if not promise:
            return
        found = self.outcome
        late_end = self.now - run.job.time > promise.end_to_end.total_seconds()
        broken = late_end or run.late_task or run.late_gap
        found.signups += 1
        found.kept += not broken
        found.late_end += late_end
        found.late_task += run.late_task
        found.late_gap += run.late_gap
        if broken:
            found.broken.append(run.job.time)

    def _ask(self, worker_class: str) -> Host:
        number = next(self._numbers)
        slots = self.fleet.workers[worker_class].concurrency
        host = Host(f"{worker_class}{number}", number, worker_class, slots, self.now)
        self.hosts.append(host)
        return host

    def _booted(self, host: Host) -> None:
        if host.state == "booting":
            host.state = "ready"
            self._take(host)

    def _stick(self, worker_class: str) -> None:
        oldest = next((h for h in self.present(worker_class) if h.state == "ready"), None)
        if oldest is not None:
            oldest.stuck = True
            self._free[worker_class].pop(oldest, None)

    def _kill(self, host: Host) -> None:
        for task in list(host.tasks):
            host.tasks.pop(task, None)
            task.host = None
            self.running[task.run.job.queue] -= 1
            self._sent -= 1
            self.outcome.killed += 1
            self._at(self.now + NOTICE, self._again, task)
        if host in self.hosts:
            self._gone(host)
        self._send()

    def _again(self, task: Task) -> None:
        # its place in the line is at the end, its wait counts from when it was first ready
        self._ready(task)

    def _gone(self, host: Host) -> None:
        self.hosts.remove(host)
        self._free[host.worker_class].pop(host, None)
        self._count(host)

    def _count(self, host: Host) -> None:
        self.outcome.host_seconds[host.worker_class] += self.now - host.asked
