"""A change of queues.yaml on a real supervisord that keeps small real programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_config.place import queues_file
from airflow_config.queues import Fleet
from deploy.local import application, changes, part_facts, stack, status
from deploy.local.instance import Instance, InstanceError
from deploy.local.parts import Part
from deploy.local.stack import StackError
from deploy.local.supervisor import Supervisor
from tests.programs import Programs, pid


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "queues.yaml"
    found.write_text(queues_file().read_text())
    monkeypatch.setenv("AIRLANE_QUEUES", str(found))
    return found


@pytest.fixture
def made(instance: Instance, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """A stack of a base and a part for each worker class, told its concurrency; pools are made."""

    def of_fleet(_instance: Instance, fleet: Fleet) -> list[Part]:
        own = [
            programs.part(f"of-{name}", str(worker.concurrency), stage=2)
            for name, worker in fleet.workers.items()
        ]
        return [programs.part("base"), *own]

    for module in (stack, status, changes, application):
        monkeypatch.setattr(module, "parts", of_fleet)
    monkeypatch.setattr(application._Work, "make_pools", lambda _: programs.report("pools made"))
    return instance


def compare(instance: Instance) -> changes.Changes:
    return changes.compare(instance, changes.running(instance), stack.queues.load())


def pids(instance: Instance) -> dict[str, int]:
    return {name: found["pid"] for name, found in Supervisor(instance).states().items()}


def test_nothing_is_changed_by_a_comment(made: Instance, programs: Programs, file: Path) -> None:
    stack.up(made, programs.report)
    before = pids(made)
    file.write_text(f"{file.read_text()}\n# a comment\n")
    assert not compare(made)
    assert application.apply(made, programs.report) is False
    assert pids(made) == before
    assert made.started_queues.read_text() == file.read_text()
    stack.down(made, programs.report)


def test_only_what_differs_restarts(made: Instance, programs: Programs, file: Path) -> None:
    stack.up(made, programs.report)
    before = pids(made)
    file.write_text(file.read_text().replace("concurrency: 2", "concurrency: 3"))
    found = compare(made)
    (part,) = found.parts
    assert (part.name, part.action) == ("of-control", "restart")
    assert part.why == ["command: of-control 2 -> 3"]
    assert found.unchanged == ["base", "of-onboarding", "of-batch"]
    assert [pool.name for pool in found.pools] == ["control"]
    assert {setting.name for setting in found.settings} == {
        "[core] parallelism",
    }
    assert application.apply(made, programs.report) is True
    assert "pools made" in programs.reports
    after = pids(made)
    assert {name for name in before if before[name] != after[name]} == {"of-control"}
    assert not compare(made)
    assert application.apply(made, programs.report) is False
    assert pids(made) == after
    assert not stack.up(made, programs.report), "the supervisor knows all parts"
    assert not [line for line in programs.reports if "settings have changed" in line]
    stack.down(made, programs.report)


def test_classes_come_and_go(made: Instance, programs: Programs, file: Path) -> None:
    stack.up(made, programs.report)
    before, shipped = pids(made), file.read_text()
    file.write_text(
        shipped.replace("  control: {", "  more: {home: batch, concurrency: 1}\n  control: {")
    )
    assert application.apply(made, programs.report)
    assert programs.is_ready("of-more")
    assert {name: found for name, found in pids(made).items() if name != "of-more"} == before
    file.write_text(shipped)
    (gone,) = compare(made).parts
    assert (gone.name, gone.action) == ("of-more", "stop")
    assert application.apply(made, programs.report)
    assert pids(made) == before
    assert part_facts.read(made, "of-more") is None
    stack.down(made, programs.report)


def test_an_interrupted_change_is_mended(
    made: Instance, programs: Programs, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.up(made, programs.report)
    text = file.read_text().replace("concurrency: 2", "concurrency: 3")
    file.write_text(text.replace("concurrency: 8", "concurrency: 9"))
    done = application._Work.carry_out
    seen: list[str] = []

    def interrupted(work: application._Work, change: changes.PartChange) -> None:
        seen.append(change.name)
        if len(seen) == 2:
            Supervisor(made).stop_part(change.name)
            raise KeyboardInterrupt
        done(work, change)

    monkeypatch.setattr(application._Work, "carry_out", interrupted)
    with pytest.raises(KeyboardInterrupt):
        application.apply(made, programs.report)
    monkeypatch.setattr(application._Work, "carry_out", done)
    left = {part.name: part.action for part in compare(made).parts}
    assert seen[0] not in left
    assert left[seen[1]] == "start", "it was stopped, and is to be started"
    assert len(left) == 2
    first = pid(made, seen[0])
    assert application.apply(made, programs.report)
    assert pid(made, seen[0]) == first
    assert not compare(made)
    assert not application.apply(made, programs.report)
    stack.down(made, programs.report)


def test_a_stack_that_is_down_is_named(made: Instance, file: Path) -> None:
    made.create()
    with pytest.raises(InstanceError, match="Fix: airlane up"):
        application.apply(made, lambda _line: None)


def test_servers_are_not_restarted(
    made: Instance, programs: Programs, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.up(made, programs.report)
    before = pids(made)
    found = part_facts.read(made, "base")
    assert found is not None
    part_facts.write(made, "base", {**found, "command": "another one"})
    with pytest.raises(StackError, match=r"found changes of base: .*Fix: airlane down"):
        application.apply(made, programs.report)
    assert pids(made) == before
    stack.down(made, programs.report)
