"""What of a changed queues.yaml restarts which part: no more than must, and all that must."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_config import queues
from airflow_config.place import ROOT
from deploy.local import part_facts
from deploy.local.instance import Instance
from deploy.local.parts import parts
from deploy.local.site import Site

TEXT = (ROOT / "queues.yaml").read_text(encoding="utf-8")
#: Who looks at DAGs, and who runs the tasks of which queue.
CONTROL = {"scheduler", "dag-processor"}
ONBOARDING, BATCH = {"worker-onboarding", "worker-batch"}, {"worker-batch"}


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = Instance(tmp_path / "home", Site())
    made.create()
    return made


def differing(instance: Instance, text: str) -> dict[str, list[str]]:
    """Return what differs for each part of both models that differs."""
    before, after = queues.read(TEXT), queues.read(text)
    old = {part.name: part_facts.facts(instance, before, part) for part in parts(instance, before)}
    new = {part.name: part_facts.facts(instance, after, part) for part in parts(instance, after)}
    both = old.keys() & new.keys()
    found = {name: part_facts.differences(old[name], new[name]) for name in both}
    return {name: why for name, why in found.items() if why}


@pytest.mark.parametrize(
    ("old", "new", "restarted"),
    [
        ("# globs", "# patterns", set()),
        ("Sign-up decisions; a person", "Decisions; a person", set()),
        ('["airlane_*", "signup_listener"]', '["airlane_*"]', {"dag-processor"}),
        ("priority: 50", "priority: 50\n    max_active_runs: 7", {"dag-processor"}),
        ("default: true", "default: true\n    max_active_runs: 7", {"dag-processor"}),
        ("priority: 100", "priority: 90", CONTROL | ONBOARDING),
        ("task_timeout: 5m", "task_timeout: 6m", {"dag-processor", "worker-control", *BATCH}),
        # the broker's visibility timeout follows from the longest one
        ("task_timeout: 6h", "task_timeout: 7h", CONTROL | BATCH),
        ("end_to_end: 3m", "end_to_end: 4m", {"scheduler"}),
        ("task: 1m, gap: 3s", "task: 1m, gap: 2s", set()),
        ("delay: 1s, max_delay: 10s", "delay: 2s, max_delay: 10s", {"dag-processor", *ONBOARDING}),
        ("count: 3, delay: 10s", "count: 4, delay: 10s", {"dag-processor", *BATCH}),
        ("count: 3, delay: 10s", "count: 3, delay: 20s", CONTROL | BATCH),
        ("task_timeout: 1m", "task_timeout: 1m\n    task_memory: 1GiB", ONBOARDING),
        ("      - intake.ledger\n", "", ONBOARDING),
        ("concurrency: 2,", "concurrency: 3,", {*CONTROL, "worker-control"}),
        ("[control, onboarding]", "[control]", {*CONTROL, "flower", *BATCH}),
        ("hosts: {min: 1, max: 10}", "hosts: {min: 1, max: 11}", CONTROL),
        ("hosts: {min: 1, max: 10}", "hosts: {min: 2, max: 10}", set()),
        ("hosts: {min: 1, max: 2}}", "hosts: {min: 1, max: 2}, drain: 10m}", set()),
        ("local: 1\n", "local: 2\n", {"flower"}),
    ],
)
def test_only_parts_that_read_it_restart(
    instance: Instance, old: str, new: str, restarted: set[str]
) -> None:
    assert old in TEXT
    assert set(differing(instance, TEXT.replace(old, new))) == restarted


def test_the_reason_names_the_key(instance: Instance) -> None:
    why = differing(instance, TEXT.replace("task_timeout: 6h", "task_timeout: 7h"))
    assert why["worker-batch"] == ["queues.batch.task_timeout: 6h -> 7h"]
    assert why["scheduler"] == [
        "[celery_broker_transport_options] visibility_timeout: 46800 -> 54000"
    ]
    why = differing(instance, TEXT.replace("concurrency: 2,", "concurrency: 3,"))
    assert why["worker-control"] == ["command: --concurrency 2 -> 3"]


def test_a_new_queue_is_one_reason(instance: Instance) -> None:
    text = TEXT.replace("workers: #", "  low: {priority: 2, task_timeout: 10m}\n\nworkers: #")
    text = text.replace("  control: {home", "  low: {home: low, concurrency: 1}\n  control: {home")
    why = differing(instance, text)
    assert set(why) == {*CONTROL, "flower"}
    assert why["flower"] == ["workers.low: new"]
    assert why["scheduler"][-2:] == ["queues.low: new", "workers.low: new"]
    assert part_facts.differences({"queues.low.priority": "2"}, {}) == ["queues.low: no more"]


def test_no_password_or_key_is_noted(instance: Instance) -> None:
    fleet = queues.read(TEXT)
    for part in parts(instance, fleet):
        found = part_facts.facts(instance, fleet, part)
        part_facts.write(instance, part.name, found)
        assert part_facts.read(instance, part.name) == found
    for path in (instance.run / "parts").iterdir():
        text = path.read_text()
        assert not [name for name, key in instance.keys.items() if key in text], path.name


def test_a_setting_with_a_password_differs_by_its_digest(instance: Instance) -> None:
    fleet = queues.read(TEXT)
    scheduler = next(part for part in parts(instance, fleet) if part.name == "scheduler")
    found = part_facts.facts(instance, fleet, scheduler)
    assert found["[celery] broker_url"].startswith("digest ")
    assert found["[scheduler] max_tis_per_query"] == "32"


def test_what_cannot_be_read_is_not_known(instance: Instance) -> None:
    assert part_facts.read(instance, "scheduler") is None
    part_facts.write(instance, "scheduler", {"command": "x"})
    (instance.run / "parts" / "scheduler.json").write_text("{")
    assert part_facts.read(instance, "scheduler") is None
