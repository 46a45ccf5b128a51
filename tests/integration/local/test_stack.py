"""The whole stack's start and end, on a real supervisord that keeps small real programs."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil
import pytest

from airflow_config.place import queues_file
from airflow_config.queues import Fleet
from deploy.local import leftovers, stack, status
from deploy.local.instance import Instance, InstanceError
from deploy.local.parts import Part
from tests.programs import Programs, Use, pid, states
from tests.servers import wait_until


def test_a_stage_starts_when_the_one_before_is_ready(
    instance: Instance, programs: Programs, use: Use
) -> None:
    use(programs.part("base"), programs.part("slow", "slow"), programs.part("top", stage=1))
    assert stack.up(instance, programs.report)
    trace = programs.trace
    assert trace.index("started top") > trace.index("ready slow")
    assert trace.index("started top") > trace.index("ready base")
    assert trace.index("started slow") < trace.index("ready slow")
    assert [line.split(" (")[0] for line in programs.reports] == [
        "base ready",
        "slow ready",
        "top ready",
    ]
    wait_until(lambda: set(states(instance).values()) == {"running"}, "all parts to run")
    assert status.status(instance).healthy
    assert not stack.up(instance, programs.report), "what runs must not be started again"
    assert programs.trace == trace


def test_a_part_that_runs_and_does_not_answer_is_unresponsive(
    instance: Instance, programs: Programs, use: Use
) -> None:
    use(programs.part("base"), programs.part("stuck"))
    stack.up(instance, programs.report)
    wait_until(lambda: set(states(instance).values()) == {"running"}, "all parts to run")
    (programs.folder / "stuck").unlink()
    assert states(instance) == {"base": "running", "stuck": "unresponsive"}
    assert not status.status(instance).healthy


def test_parts_stop_in_order_and_the_deaf_are_killed_after_their_grace(
    instance: Instance, programs: Programs, use: Use
) -> None:
    use(
        programs.part("base", stop_order=2),
        programs.part("deaf", "deaf", stop_order=1, grace=1),
        programs.part("intake", stop_order=0),
    )
    stack.up(instance, programs.report)
    deaf = psutil.Process(pid(instance, "deaf"))
    del programs.reports[:]
    stack.down(instance, programs.report)
    assert [line.split(" (")[0] for line in programs.reports] == [
        "intake stopped",
        "deaf stopped",
        "base stopped",
    ]
    ended = [line for line in programs.trace if line.startswith("ended")]
    assert ended == ["ended intake", "ended base"]
    assert not deaf.is_running()
    assert leftovers.find(instance.folder) == []
    stack.down(instance, programs.report)
    assert set(states(instance).values()) == {"stopped"}
    assert not status.status(instance).healthy


def test_a_part_that_dies_at_once_is_named_with_the_end_of_its_log(
    instance: Instance, programs: Programs, use: Use
) -> None:
    use(programs.part("base"), programs.part("broken", "broken", stage=1))
    with pytest.raises(stack.StackError) as raised:
        stack.up(instance, programs.report)
    said = str(raised.value)
    assert said.startswith("broken ends as soon as it is started.")
    assert str(instance.logs / "broken.log") in said
    assert "broken: expected a reason to live, found none" in said
    assert states(instance)["base"] == "running", "what was started stays up, to be looked at"
    stack.down(instance, programs.report)
    assert leftovers.find(instance.folder) == []


def test_two_at_once_are_refused(instance: Instance, programs: Programs, use: Use) -> None:
    use(programs.part("base"))
    with stack.locked(instance):
        for command in (stack.up, stack.down, stack.reset):
            with pytest.raises(InstanceError, match="another airlane at work"):
                command(instance, programs.report)
    assert stack.up(instance, programs.report), "the lock is free again"


def test_an_interrupted_start_goes_on_with_the_next_one(
    instance: Instance, programs: Programs, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = programs.part("base")
    use(base, programs.part("top", stage=1))
    prepared = []

    def interrupt(_instance: Instance, _report: object) -> None:
        prepared.append("begun")
        if len(prepared) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(stack, "_prepare_databases", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stack.up(instance, programs.report)
    before = pid(instance, "base")
    assert states(instance)["top"] == "stopped"
    assert stack.up(instance, programs.report)
    assert len(prepared) == 2, "what was interrupted must be done again"
    assert pid(instance, "base") == before
    assert programs.is_ready("top")
    stack.down(instance, programs.report)
    assert leftovers.find(instance.folder) == []


@pytest.mark.parametrize("found", ["removed", "broken", "missing"])
def test_a_changed_queue_model_hinders_no_one_from_stopping(
    instance: Instance,
    programs: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: str,
) -> None:
    file = tmp_path / "queues.yaml"
    file.write_text(queues_file().read_text())
    monkeypatch.setenv("AIRLANE_QUEUES", str(file))

    def of_fleet(_instance: Instance, fleet: Fleet) -> list[Part]:
        return [programs.part(f"worker-{name}") for name in fleet.workers]

    for module in (stack, status):
        monkeypatch.setattr(module, "parts", of_fleet)
    stack.up(instance, programs.report)
    if found == "removed":
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if not line.startswith("  batch: {home")))
        file.write_text(
            file.read_text().replace("  control: {home: control,", "  x: {home: batch,")
        )
        file.write_text(file.read_text() + "  y: {home: control, concurrency: 1}\n")
        del programs.reports[:]
        stack.up(instance, programs.report)
        assert programs.reports[0].startswith("settings have changed since the start (")
        assert "queues.yaml" in programs.reports[0]
    elif found == "broken":
        file.write_text("queues: [\n")
    else:
        file.unlink()
    assert set(states(instance)) == {"worker-onboarding", "worker-control", "worker-batch"}
    del programs.reports[:]
    stack.down(instance, programs.report)
    stopped = {line.split(" (")[0] for line in programs.reports}
    assert stopped == {f"worker-{name} stopped" for name in ("onboarding", "control", "batch")}


def test_unchanged_settings_are_no_news(instance: Instance, programs: Programs, use: Use) -> None:
    use(programs.part("base"))
    stack.up(instance, programs.report)
    stack.up(instance, programs.report)
    assert not [line for line in programs.reports if "settings" in line]


def test_a_damaged_instance_can_be_stopped(
    instance: Instance, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def needs_a_port(instance: Instance, _fleet: Fleet) -> list[Part]:
        assert instance.port("flower")
        return [programs.part("base")]

    monkeypatch.setattr(stack, "parts", needs_a_port)
    stack.up(instance, programs.report)
    instance.state_file.write_text('{"ports":')
    stack.down(instance, programs.report)
    assert any("their order is not known" in line for line in programs.reports)
    assert leftovers.find(instance.folder) == []


def test_reset_leaves_neither_processes_nor_a_folder(
    instance: Instance, programs: Programs, use: Use
) -> None:
    use(programs.part("base"))
    stack.up(instance, programs.report)
    stack.reset(instance, programs.report)
    assert leftovers.find(instance.folder) == []
    assert not instance.folder.exists()


def test_a_foreign_server_that_does_not_answer_is_named(
    instance: Instance, programs: Programs, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "READY_DEADLINE", 1)
    foreign = Part(
        name="events",
        words=[],
        ready=lambda _since: False,
        stage=0,
        stop_order=0,
        url="redis://events.example:6379/0",
    )
    # what is named is the first that is not ready: a slow machine's base must not be it
    use(foreign, programs.part("base"))
    with pytest.raises(stack.StackError, match=r"events\.example.*site file.*events\.url"):
        stack.up(instance, programs.report)


def test_threads_of_a_look_end_with_it(instance: Instance, programs: Programs, use: Use) -> None:
    use(programs.part("base"))
    before = set(threading.enumerate())
    stack.up(instance, programs.report)
    assert set(threading.enumerate()) <= before
