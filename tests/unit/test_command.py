"""Names and command lines of workers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_config import queues
from airflow_config.queue_rules import NAME
from workers.command import class_of_part, node_name, part_name, worker_command

FLEET = queues.load()
class_names = st.from_regex(NAME, fullmatch=True)


@given(class_names, st.integers(1, 4_194_304))
def test_a_parts_name_tells_its_class(class_name: str, number: int) -> None:
    part = part_name(class_name, number)
    assert class_of_part(part) == class_name
    assert (part == f"worker-{class_name}") is (number == 1)


@given(class_names, st.integers(1, 50), class_names, st.integers(1, 50))
def test_no_two_workers_share_a_name(one: str, first: int, other: str, second: int) -> None:
    if (one, first) != (other, second):
        assert part_name(one, first) != part_name(other, second)
        assert node_name(part_name(one, first)) != node_name(part_name(other, second))


@pytest.mark.parametrize("part", ["", "relay", "api-server", "worker-", "workers", "worker-Batch"])
def test_other_parts_are_of_no_class(part: str) -> None:
    assert class_of_part(part) is None


@pytest.mark.parametrize("class_name", FLEET.workers)
def test_a_worker_takes_its_queues_most_urgent_first(class_name: str) -> None:
    words = worker_command(FLEET, class_name)
    served = words[words.index("--queues") + 1].split(",")
    assert served == sorted(served, key=lambda name: -FLEET.queues[name].priority)
    worker = FLEET.workers[class_name]
    assert set(served) == {worker.home, *worker.lends_to}
    assert words[words.index("--concurrency") + 1] == str(worker.concurrency)


def test_a_second_worker_has_a_node_name_of_its_own() -> None:
    words = worker_command(FLEET, "batch", "worker-batch-2")
    assert words[words.index("--celery-hostname") + 1] == "batch-2@%h"


def test_airflow_knows_every_option() -> None:
    from airflow.cli.cli_parser import get_parser

    words = worker_command(FLEET, "onboarding")
    # after python -m airflow
    found = get_parser().parse_args(words[3:])
    assert found.queues == "onboarding"
    assert found.skip_serve_logs
    assert found.celery_hostname == "onboarding@%h"


def test_an_unknown_class_has_no_command() -> None:
    with pytest.raises(KeyError):
        worker_command(FLEET, "nightly")
