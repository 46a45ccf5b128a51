"""How many hosts the work of a queue asks for, and why."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from airflow_config import queues
from tests.unit.scaling_loads import FLEET, MODEL, NOW, RULES, hosts, of
from workers.scaling import Load, plan
from workers.scaling_demand import QueueLoad, demand, expected_arrivals


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
