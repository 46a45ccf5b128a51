"""How many hosts a worker class should have: what holds whatever is seen."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_config import queues
from workers.scaling import ClassPlan, Load, Memory, Plan, plan
from workers.scaling_demand import QueueLoad, demand, expected_arrivals, time_to_clear
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


@given(loads, memories)
def test_it_stays_within_what_queues_yaml_allows(load: Load, memory: Memory | None) -> None:
    for made in plan(FLEET, load, memory).classes:
        limits = FLEET.workers[made.name].hosts
        assert limits.min <= made.target <= limits.max
        assert made.ready >= 0
        assert made.booting >= 0


@given(loads, memories)
def test_scale_in_leaves_a_slot_for_each_task_that_runs(load: Load, memory) -> None:
    found = plan(FLEET, load, memory)
    for made in found.classes:
        worker = FLEET.workers[made.name]
        stuck = found.memory.watch.stuck
        busy = sum(
            host.busy
            for host in load.hosts
            if host.worker_class == made.name and not host.draining and host.name not in stuck
        )
        needed = math.ceil(busy / worker.concurrency)
        if made.change < 0:
            assert made.target >= min(needed, worker.hosts.max)


@given(loads, memories)
def test_the_same_again_says_the_same(load: Load, memory: Memory | None) -> None:
    first = plan(FLEET, load, memory)
    second = plan(FLEET, load, first.memory)
    assert [made.target for made in second.classes] == [made.target for made in first.classes]
    assert [made.remove for made in second.classes] == [made.remove for made in first.classes]
    third = plan(FLEET, load, second.memory)
    assert third.memory == second.memory


@given(loads, memories, st.sampled_from(list(FLEET.queues)), st.integers(0, 2_000))
def test_more_that_waits_never_gives_fewer_hosts(load: Load, memory, queue: str, more: int) -> None:
    seen = load.of(queue)
    # with something waiting in both, so that which hosts are stuck is judged alike
    few = replace(seen, waiting=seen.waiting + 1)
    many = replace(few, waiting=few.waiting + more)
    less, greater = (
        plan(FLEET, replace(load, queues={**load.queues, queue: found}), memory)
        for found in (few, many)
    )
    for before, after in zip(less.classes, greater.classes, strict=True):
        assert after.target >= before.target


@given(queue_loads, st.floats(0.05, 5_000), seconds, st.sampled_from(list(FLEET.queues)))
def test_the_longer_it_waits_the_more_slots(
    seen: QueueLoad, service: float, more: float, name: str
) -> None:
    queue = FLEET.queues[name]
    later = replace(seen, oldest=seen.oldest + more)
    slots, more_slots = (demand(queue, s, RULES, service=service).slots for s in (seen, later))
    assert more_slots >= slots - 1e-9
    assert time_to_clear(queue, later.oldest, RULES) <= time_to_clear(queue, seen.oldest, RULES)


@given(queue_loads, st.floats(0.05, 20_000), st.sampled_from(list(FLEET.queues)))
def test_a_slot_for_each_task_is_the_most(seen: QueueLoad, service: float, name: str) -> None:
    queue = FLEET.queues[name]
    arrivals = expected_arrivals(seen, RULES)
    most = seen.waiting + seen.running + arrivals * RULES.boot
    headroom = RULES.headroom * math.sqrt(arrivals * min(service, RULES.boot))
    assert demand(queue, seen, RULES, service=service).slots <= (most + headroom) * 1.000001


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


@given(queue_loads, st.integers(1, 20))
def test_under_a_constant_load_it_moves_one_way_at_most(seen: QueueLoad, start: int) -> None:
    counts = follow([seen] * 60, start=start)
    moves = [after - before for before, after in pairwise(counts) if after != before]
    assert all(move > 0 for move in moves) or all(move < 0 for move in moves)
    assert len(moves) <= 1


@given(
    st.floats(0.1, 5),
    st.floats(0.5, 10),
    st.lists(st.floats(0.99, 1.01), min_size=100, max_size=100),
)
def test_a_load_that_trembles_does_not_move_hosts(
    rate: float, service: float, factors: list[float]
) -> None:
    steps = [
        QueueLoad(rate=rate * factor, recent=rate * factor, service=service) for factor in factors
    ]
    counts = follow(steps)
    moves = [after - before for before, after in pairwise(counts) if after != before]
    # out to what the highest of them needs; what is in the margin stays
    assert all(move > 0 for move in moves)


def test_it_waits_for_a_lull_before_it_takes_hosts_away() -> None:
    busy = QueueLoad(waiting=600, running=8, rate=1, recent=1, service=60.0)
    quiet = QueueLoad(service=60.0)
    looks = math.ceil(RULES.lull / LOOK)
    counts = follow([busy] + [quiet] * (looks + 2))
    high = counts[1]
    assert high > 1
    assert counts[looks] == high, "not before the lull is over"
    assert counts[-1] == 1


def test_after_a_pause_it_begins_to_watch_anew() -> None:
    load = Load(time=NOW, hosts=hosts("rest", 0, 0, 0))
    memory = plan(FLEET, load).memory
    much_later = replace(load, time=NOW + RULES.gap + RULES.lull + 1)
    assert of(plan(FLEET, much_later, memory), "rest").target == 3


def test_a_promise_gets_headroom() -> None:
    seen = QueueLoad(rate=8.0, recent=8.0, running=16, service=2.0)
    urgent = demand(FLEET.queues["urgent"], seen, RULES, service=2.0).slots
    rest = demand(FLEET.queues["rest"], seen, RULES, service=2.0).slots
    assert urgent >= 16 + 2 * math.sqrt(16)
    assert rest < urgent


def test_work_is_counted_not_tasks() -> None:
    found = {}
    for service in (1.0, 600.0):
        load = Load(
            time=NOW,
            queues={"rest": QueueLoad(waiting=160, running=8, service=service)},
            hosts=hosts("rest", 8),
        )
        found[service] = of(plan(FLEET, load), "rest").target
    assert found[1.0] == 1, "8 slots clear 160 s of work in 20 s"
    work = 168 * 600.0
    assert (found[600.0] - 1) * 8 < work / RULES.clear <= found[600.0] * 8


def test_tasks_that_go_on_for_long_hold_their_slots() -> None:
    seen = QueueLoad(waiting=4, running=16, lasting=16, oldest=100, service=10.0)
    load = Load(time=NOW, queues={"rest": seen}, hosts=hosts("rest", 8, 8))
    assert of(plan(FLEET, load), "rest").target == 3


def test_as_long_as_no_task_was_seen_to_end_each_gets_a_slot() -> None:
    load = Load(time=NOW, queues={"rest": QueueLoad(waiting=17)}, hosts=hosts("rest", 0))
    assert of(plan(FLEET, load), "rest").target == 3


def test_the_duration_is_remembered_while_no_task_ends() -> None:
    ended = Load(time=NOW, queues={"rest": QueueLoad(service=1.0)}, hosts=hosts("rest", 0))
    memory = plan(FLEET, ended).memory
    load = replace(ended, queues={"rest": QueueLoad(waiting=100)})
    assert of(plan(FLEET, load, memory), "rest").target == 1


def test_what_was_asked_for_is_not_asked_for_again() -> None:
    load = Load(
        time=NOW,
        queues={"urgent": QueueLoad(waiting=300, running=8, oldest=2, service=2.0, rate=9)},
        hosts=hosts("urgent", 8),
    )
    first = plan(FLEET, load)
    made = of(first, "urgent")
    assert made.change > 0
    again = of(plan(FLEET, replace(load, time=NOW + LOOK), first.memory), "urgent")
    assert again.booting == made.change
    assert again.change == 0


def test_a_host_that_never_comes_is_asked_for_again() -> None:
    load = Load(
        time=NOW,
        queues={"urgent": QueueLoad(running=8, rate=9, recent=9, service=2.0)},
        hosts=hosts("urgent", 8),
    )
    memory, asked = None, []
    for number in range(40):
        found = plan(FLEET, replace(load, time=NOW + number * LOOK), memory)
        asked.append(of(found, "urgent").change)
        memory = found.memory
    times = [number * LOOK for number, change in enumerate(asked) if change > 0]
    assert times[0] == 0
    assert times[1] > RULES.patience * RULES.boot


def stuck_load(**more) -> Load:
    """Return a load where `rest1` is free and idle for long, while `rest2` takes what waits."""
    idle = HostLoad(name="rest1", worker_class="rest", taken=NOW - 500)
    busy = HostLoad(name="rest2", worker_class="rest", running={"rest": 8}, taken=NOW - 1)
    seen = QueueLoad(waiting=50, running=8, oldest=90, service=60.0, rate=0.2, recent=0.2)
    return Load(time=NOW, queues={"rest": replace(seen, **more)}, hosts=(idle, busy))


def seen_before(load: Load) -> Memory:
    """Return the memory of a look at these hosts a while ago, when nothing waited."""
    return plan(FLEET, Load(time=NOW - 200, hosts=load.hosts)).memory


def test_a_stuck_host_is_not_counted_and_goes_first() -> None:
    load = stuck_load()
    made = of(plan(FLEET, load, seen_before(load)), "rest")
    assert made.ready == 1
    assert made.remove[0] == "rest1"
    assert any("rest1 is not counted" in reason for reason in made.reasons)


def test_a_stuck_host_does_not_hold_scale_in() -> None:
    load = stuck_load()
    first = plan(FLEET, load, seen_before(load))
    # three healthy ones, and nothing to do: the stuck one, with a task that hangs, stays there
    idle = hosts("rest", 0, 0, 0, 0)[1:]
    hangs = replace(load.hosts[0], running={"rest": 7})
    memory, target = first.memory, None
    for number in range(1, 40):
        time = NOW + number * LOOK
        found = plan(FLEET, Load(time=time, hosts=(hangs, *idle)), memory)
        memory, target = found.memory, of(found, "rest").target
    assert target == 1
    assert "rest1" in memory.watch.stuck, "until it takes a task"


def test_it_is_in_order_again_when_it_takes_a_task() -> None:
    load = stuck_load()
    memory = plan(FLEET, load, seen_before(load)).memory
    back = replace(load.hosts[0], taken=NOW + 5)
    load = replace(load, time=NOW + LOOK, hosts=(back, load.hosts[1]))
    assert of(plan(FLEET, load, memory), "rest").ready == 2


def test_when_nobody_takes_work_it_is_not_the_hosts() -> None:
    load = stuck_load(service=600.0)
    quiet = tuple(replace(host, taken=NOW - 500) for host in load.hosts)
    load = replace(load, hosts=quiet)
    made = of(plan(FLEET, load, seen_before(load)), "rest")
    assert made.ready == 2
    assert made.remove == ()
    assert made.change == 0
    assert any("more hosts would not help" in reason for reason in made.reasons)


def test_a_lone_host_that_takes_nothing_is_replaced_once() -> None:
    idle = HostLoad(name="small1", worker_class="small")
    seen = QueueLoad(waiting=5, oldest=400, service=1.0)
    # batch hosts, which lend to it, are all busy with long tasks: none could have shown it
    queues_seen = {"small": seen}
    load = Load(time=NOW, queues=queues_seen, hosts=(idle,))
    memory = plan(FLEET, Load(time=NOW - 290, hosts=(idle,))).memory
    made = of(plan(FLEET, load, memory), "small")
    assert made.remove == ("small1",)
    assert made.target == 1


def test_a_host_that_is_lost_is_replaced() -> None:
    load = Load(
        time=NOW,
        queues={"urgent": QueueLoad(rate=2, recent=2, service=2.0)},
        hosts=(*hosts("urgent", 4), *hosts("urgent", 0, 4, lost=True)[1:]),
    )
    made = of(plan(FLEET, load), "urgent")
    assert made.ready == 1
    assert made.remove == ("urgent2",)


def test_what_has_least_to_finish_goes() -> None:
    calm = Load(time=NOW, hosts=hosts("rest", 5, 1, 3))
    memory = plan(FLEET, calm).memory
    found = plan(FLEET, calm, memory)
    for number in range(1, 20):
        found = plan(FLEET, replace(calm, time=NOW + number * LOOK), found.memory)
    made = of(found, "rest")
    assert made.target == 2, "nine tasks run"
    assert made.remove == ("rest2",)


@pytest.mark.parametrize(("recent", "rises"), [(1.2, False), (4.0, True), (0.1, False)])
def test_a_rise_counts_when_chance_does_not_explain_it(recent: float, rises: bool) -> None:
    found = expected_arrivals(QueueLoad(rate=1.0, recent=recent), RULES)
    assert (found > 1.0) is rises
    assert found <= 2 * max(recent, 1.0)


def test_two_classes_of_one_home_share_its_work() -> None:
    model = MODEL + "  more: {home: rest, concurrency: 8, hosts: {min: 1, max: 20}}\n"
    fleet = queues.read(model)
    seen = QueueLoad(waiting=160, running=0, service=20_000.0)
    found = plan(fleet, Load(time=NOW, queues={"rest": seen}))
    assert [of(found, name).target for name in ("rest", "more")] == [10, 10]


def test_reasons_say_what_a_person_can_check() -> None:
    load = Load(
        time=NOW,
        queues={"urgent": QueueLoad(waiting=120, running=8, oldest=4, service=2.1, rate=0.9)},
        hosts=hosts("urgent", 8),
    )
    reasons = " ".join(of(plan(FLEET, load), "urgent").reasons)
    assert "0.90/s x 2.1 s" in reasons
    assert "120 wait, the oldest 4 s (late)" in reasons
    assert "hosts of 8 slots are needed" in reasons


@given(loads, memories)
def test_there_is_always_a_reason(load: Load, memory: Memory | None) -> None:
    assert all(made.reasons for made in plan(FLEET, load, memory).classes)


def test_reasons_say_what_queues_yaml_forbids() -> None:
    load = Load(time=NOW, queues={"rest": QueueLoad(waiting=800)}, hosts=hosts("rest", 8))
    found = plan(FLEET, load)
    made = of(found, "rest")
    assert made.target == FLEET.workers["rest"].hosts.max
    assert "100 hosts would be needed; queues.yaml allows 20" in made.reasons
    assert "queues.yaml wants 1 at least" in of(found, "urgent").reasons


def test_many_batch_tasks_at_once_are_a_backlog_not_a_rise() -> None:
    # 600 tasks of one DagRun, a moment ago: eight slots clear that in four minutes
    seen = QueueLoad(waiting=595, running=5, oldest=6, rate=2.0, recent=10.0, service=3.2)
    load = Load(time=NOW, queues={"rest": seen}, hosts=hosts("rest", 5))
    assert of(plan(FLEET, load), "rest").target <= 2
    # people who sign up at that rate will go on to, and none of them may wait for a host
    load = Load(time=NOW, queues={"urgent": seen}, hosts=hosts("urgent", 5))
    assert of(plan(FLEET, load), "urgent").target == 10


def test_where_tasks_are_long_it_waits_as_long_as_a_drain_takes() -> None:
    urgent, rest = (FLEET.queues[name] for name in ("urgent", "rest"))
    assert RULES.lull_of(rest, None) == RULES.lull_of(rest, 10.0) == RULES.lull
    assert RULES.lull_of(rest, 400.0) == 1_200
    assert RULES.lull_of(rest, 20_000.0) == 3 * RULES.clear, "an outlier does not keep hosts"
    assert RULES.lull_of(urgent, 2.0) == RULES.lull_promised
