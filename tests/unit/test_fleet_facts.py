"""What Ansible is told of the worker classes."""

from __future__ import annotations

import json

from airflow_config import queues
from deploy.fleet.facts import MARGIN, facts
from deploy.fleet.secrets import NEEDS

MODEL = """\
queues:
  urgent:
    priority: 9
    task_timeout: 30s
    promise: {end_to_end: 1m, task: 9s, gap: 1s}
    task_memory: 256MiB
    retries: {max_delay: 10s}
  small: {priority: 5, task_timeout: 5m, task_memory: 512MiB}
  rest: {priority: 1, default: true, task_timeout: 2h}
workers:
  urgent: {home: urgent, concurrency: 8, hosts: {min: 2, max: 3}}
  small: {home: small, lends_to: [urgent], concurrency: 2, drain: 9m}
  rest: {home: rest, lends_to: [small, urgent], concurrency: 4}
"""
FOUND = facts(queues.read(MODEL))
CLASSES = FOUND["classes"]


def test_it_is_json_and_names_the_secrets_of_each_role() -> None:
    assert json.loads(json.dumps(FOUND)) == FOUND
    assert FOUND["secrets"] == {role: list(names) for role, names in NEEDS.items()}


def test_a_host_may_take_its_longest_task_to_drain_or_what_the_class_says() -> None:
    assert {name: found["drain_limit_s"] for name, found in CLASSES.items()} == {
        "urgent": 30,
        "small": 540,
        "rest": 7200,
    }
    # systemd must not be what ends a drain
    assert all(
        found["timeout_stop_s"] == found["drain_limit_s"] + MARGIN for found in CLASSES.values()
    )


def test_more_urgent_classes_weigh_more_on_a_host_that_has_several() -> None:
    assert [CLASSES[name]["cpu_weight"] for name in ("urgent", "small", "rest")] == [800, 400, 50]


def test_memory_is_bound_where_each_queue_of_a_class_bounds_it() -> None:
    assert CLASSES["urgent"]["task_memory"] == 8 * 256 * 2**20
    # the most that any task of it may take
    assert CLASSES["small"]["task_memory"] == 2 * 512 * 2**20
    assert CLASSES["rest"]["task_memory"] is None
