"""How many hosts a worker class should have: what holds whatever is seen."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scaling_loads import FLEET, RULES, loads, memories, queue_loads, seconds
from workers.scaling import Load, Memory, plan
from workers.scaling_demand import QueueLoad, demand, expected_arrivals, time_to_clear


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


@given(loads, memories)
def test_there_is_always_a_reason(load: Load, memory: Memory | None) -> None:
    assert all(made.reasons for made in plan(FLEET, load, memory).classes)
