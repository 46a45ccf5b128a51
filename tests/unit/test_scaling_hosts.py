"""Hosts that boot, are stuck, are lost or leave."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.scaling_loads import FLEET, LOOK, NOW, RULES, hosts, of, seen_before, stuck_load
from workers.scaling import Load, plan
from workers.scaling_demand import QueueLoad
from workers.scaling_hosts import HostLoad


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


def test_a_host_that_came_and_went_is_not_on_its_way() -> None:
    seen = {"urgent": QueueLoad(running=8, rate=9, recent=9, service=2.0)}
    one = hosts("urgent", 8)
    first = plan(FLEET, Load(time=NOW, queues=seen, hosts=one))
    wanted = of(first, "urgent").target
    all_came = Load(time=NOW + 60, queues=seen, hosts=hosts("urgent", 8, *[2] * (wanted - 1)))
    second = plan(FLEET, all_came, first.memory)
    assert of(second, "urgent").change == 0
    gone = plan(FLEET, Load(time=NOW + 75, queues=seen, hosts=one), second.memory)
    assert of(gone, "urgent").booting == 0
    assert of(gone, "urgent").change == wanted - 1


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
