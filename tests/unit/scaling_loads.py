"""A fleet, and loads of it, to plan hosts for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from airflow_config import queues
from workers.scaling import ClassPlan, Load, Memory, Plan, plan
from workers.scaling_demand import QueueLoad
from workers.scaling_hosts import HostLoad
from workers.scaling_rules import Rules

MODEL = """\
queues:
  urgent:
    priority: 9
    task_timeout: 1m
    promise: {end_to_end: 3m, task: 1m, gap: 3s}
    retries: {max_delay: 1m}
  small: {priority: 5, task_timeout: 5m}
  rest: {priority: 1, default: true, task_timeout: 6h}
workers:
  urgent: {home: urgent, concurrency: 8, hosts: {min: 1, max: 10}}
  small: {home: small, concurrency: 2, hosts: {min: 0, max: 2}}
  rest: {home: rest, lends_to: [small, urgent], concurrency: 8, hosts: {min: 1, max: 20}}
"""
FLEET = queues.read(MODEL)
RULES = Rules()
NOW = 1_000_000.0
LOOK = 15.0  # seconds between looks


def hosts(name: str, *busy: int, taken: float | None = NOW, **more) -> tuple[HostLoad, ...]:
    """Return hosts `name1`, `name2` .. of a class, each with so many tasks that run."""
    home = FLEET.workers[name].home
    return tuple(
        HostLoad(
            name=f"{name}{number}",
            worker_class=name,
            running={home: count} if count else {},
            taken=taken,
            **more,
        )
        for number, count in enumerate(busy, 1)
    )


def of(found: Plan, name: str) -> ClassPlan:
    """Return what is planned for one class."""
    return next(made for made in found.classes if made.name == name)


seconds = st.floats(0, 20_000)
rates = st.floats(0, 50)
queue_loads = st.builds(
    QueueLoad,
    waiting=st.integers(0, 5_000),
    running=st.integers(0, 300),
    lasting=st.integers(0, 300),
    oldest=seconds,
    rate=rates,
    recent=rates,
    service=st.none() | st.floats(0.05, 20_000),
)
some_hosts = st.lists(
    st.builds(
        HostLoad,
        name=st.integers(1, 99).map("h{}".format),
        worker_class=st.sampled_from([*FLEET.workers, "gone"]),
        running=st.dictionaries(st.sampled_from(list(FLEET.queues)), st.integers(1, 8)),
        taken=st.none() | st.floats(NOW - 1_000, NOW),
        draining=st.booleans(),
        lost=st.booleans(),
    ),
    max_size=30,
    unique_by=lambda host: host.name,
).map(tuple)
loads = st.builds(
    Load,
    time=st.just(NOW),
    queues=st.dictionaries(st.sampled_from(list(FLEET.queues)), queue_loads),
    hosts=some_hosts,
)


def _remembered(looks: list[tuple[float, Load]]) -> Memory | None:
    memory, time = None, NOW - sum(pause for pause, _ in looks)
    for pause, load in looks:
        memory = plan(FLEET, replace(load, time=time), memory).memory
        time += pause
    return memory


#: What earlier looks left, each a while after the one before.
memories = st.lists(st.tuples(st.floats(1, 400), loads), max_size=4).map(_remembered)


def follow(steps, rules: Rules = RULES, start: int = 1) -> list[int]:
    """Carry out each plan for `rest` at once; return how many hosts there were."""
    count, memory, counts = start, None, [start]
    for number, seen in enumerate(steps):
        load = Load(
            time=NOW + number * LOOK,
            queues={"rest": seen},
            hosts=hosts("rest", *[0] * count, taken=NOW + number * LOOK),
        )
        found = plan(FLEET, load, memory, rules)
        count, memory = of(found, "rest").target, found.memory
        counts.append(count)
    return counts


def stuck_load(**more) -> Load:
    """Return a load where `rest1` is free and idle for long, while `rest2` takes what waits."""
    idle = HostLoad(name="rest1", worker_class="rest", taken=NOW - 500)
    busy = HostLoad(name="rest2", worker_class="rest", running={"rest": 8}, taken=NOW - 1)
    seen = QueueLoad(waiting=50, running=8, oldest=90, service=60.0, rate=0.2, recent=0.2)
    return Load(time=NOW, queues={"rest": replace(seen, **more)}, hosts=(idle, busy))


def seen_before(load: Load) -> Memory:
    """Return the memory of a look at these hosts a while ago, when nothing waited."""
    return plan(FLEET, Load(time=NOW - 200, hosts=load.hosts)).memory
