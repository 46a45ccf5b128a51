"""Requests for hosts, and what is remembered between two looks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from airflow_config import queues
from airlane import autoscale_commands
from airlane.autoscale_commands import alone, remembered, request
from airlane.cli import app
from tests.unit.scaling_loads import FLEET, NOW, hosts, of, stuck_load
from workers.scaling import ClassPlan, Load, Plan, plan
from workers.scaling_demand import QueueLoad

BUSY = Load(
    time=NOW,
    queues={"rest": QueueLoad(waiting=600, running=8, service=600.0)},
    hosts=hosts("rest", 8) + hosts("urgent", 0),
)


def asked(folder: Path, name: str, way: str) -> dict:
    return json.loads((folder / f"{name}.{way}.json").read_text())


def test_a_request_is_what_the_playbook_takes(tmp_path: Path) -> None:
    found = plan(FLEET, BUSY)
    request(tmp_path, found)
    assert asked(tmp_path, "rest", "out") == {
        "class": "rest",
        "count": of(found, "rest").target,
        "way": "out",
        "hosts_out": "",
    }
    assert {file.name for file in tmp_path.glob("*.json")} == {"rest.out.json", "memory.json"}


def test_who_leaves_is_asked_for_apart_from_who_joins(tmp_path: Path) -> None:
    """A drain takes hours: new hosts must not wait for it, and must not count who drains."""
    load = replace(
        BUSY, hosts=tuple(replace(host, name=f"rest@{host.name}") for host in BUSY.hosts)
    )
    made = of(plan(FLEET, load), "rest")
    made = replace(made, remove=("rest@w3",), draining=("rest@w4",))
    request(tmp_path, Plan(classes=(made,), memory=plan(FLEET, load).memory))
    assert asked(tmp_path, "rest", "out")["hosts_out"] == "w3,w4"
    assert asked(tmp_path, "rest", "in") == {
        "class": "rest",
        "count": made.target,
        "way": "in",
        "hosts_out": "w3",
    }


def test_a_host_that_drains_asks_for_nothing(tmp_path: Path) -> None:
    found = plan(FLEET, Load(time=NOW))
    made = replace(of(found, "rest"), draining=("rest@w4",))
    made = replace(made, target=made.ready + made.booting, remove=())
    request(tmp_path, Plan(classes=(made,), memory=found.memory))
    assert list(tmp_path.glob("rest.*")) == []


def test_hosts_that_go_have_the_names_of_the_inventory(tmp_path: Path) -> None:
    load = stuck_load()
    named = tuple(replace(host, name=f"rest@w{n}") for n, host in enumerate(load.hosts))
    load = replace(load, hosts=named)
    before = plan(FLEET, Load(time=NOW - 200, hosts=named)).memory
    request(tmp_path, plan(FLEET, load, before))
    assert asked(tmp_path, "rest", "in")["hosts_out"] == "w0"


def test_what_is_remembered_comes_back(tmp_path: Path) -> None:
    found = plan(FLEET, stuck_load(), plan(FLEET, replace(stuck_load(), time=NOW - 200)).memory)
    request(tmp_path, found)
    assert remembered(tmp_path) == found.memory


def test_nothing_is_remembered_at_first(tmp_path: Path) -> None:
    assert remembered(tmp_path) is None


def test_a_broken_memory_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text('{"time": "never"')
    assert remembered(tmp_path) is None


def times(file: Path) -> int:
    return file.stat().st_mtime_ns


def test_a_request_that_holds_is_repeated_after_a_while_only(
    tmp_path: Path,
) -> None:
    found = plan(FLEET, BUSY)
    request(tmp_path, found)
    file = tmp_path / "rest.out.json"
    long_ago = file.stat().st_mtime - autoscale_commands._AGAIN / 2
    os.utime(file, (long_ago, long_ago))
    before = times(file)
    request(tmp_path, found)
    assert times(file) == before
    os.utime(file, (long_ago, long_ago - autoscale_commands._AGAIN))
    before = times(file)
    request(tmp_path, found)
    assert times(file) > before


def test_another_count_is_asked_for_at_once(tmp_path: Path) -> None:
    found = plan(FLEET, BUSY)
    request(tmp_path, found)
    fewer = [
        replace(made, target=made.ready + 1) if made.name == "rest" else made
        for made in found.classes
    ]
    request(tmp_path, Plan(classes=tuple(fewer), memory=found.memory))
    assert asked(tmp_path, "rest", "out")["count"] == of(found, "rest").ready + 1


def test_the_projects_own_model_can_be_planned() -> None:
    found = plan(queues.load(), Load(time=NOW))
    assert {made.name: made.target for made in found.classes} == {
        name: worker.hosts.min for name, worker in queues.load().workers.items()
    }


#: Takes the lock, says so, and holds it until its input ends.
_HOLDER = """
import sys
from pathlib import Path
from airlane.autoscale_commands import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_plans_never_run_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(typer.Exit) as refused, alone(tmp_path):
            pytest.fail("both hold it")
        assert refused.value.exit_code == 1
        said = capsys.readouterr().err
        assert f"process {other.pid}" in said
        assert "Fix:" in said
        other.kill()
    with alone(tmp_path):
        pass  # the lock of one that was killed is free


def said(monkeypatch: pytest.MonkeyPatch, made: ClassPlan, *options: str) -> str:
    """Return what a dry run prints of a plan."""
    found = Plan(classes=(made,), memory=plan(FLEET, Load(time=NOW)).memory)
    monkeypatch.setenv("COLUMNS", "200")
    for name, value in {
        "reach": lambda: SimpleNamespace(broker="", metadata_db="", fleet=FLEET),
        "_folder": lambda: Path("/nowhere"),
        "plan": lambda *_: found,
    }.items():
        monkeypatch.setattr(autoscale_commands, name, value)
    monkeypatch.setattr(autoscale_commands.live_workers, "connect", lambda *_: nullcontext())
    monkeypatch.setattr(autoscale_commands.fleet_load, "read", lambda *_: None)
    result = CliRunner().invoke(app, ["autoscale", "--dry-run", *options])
    assert result.exit_code == 0, result.output
    return result.output


MADE = ClassPlan(
    name="rest",
    ready=3,
    booting=1,
    target=2,
    slots=12.345,
    reasons=("2.40/s [rising]", "w3 is not counted"),
    remove=("rest@w3",),
    draining=("rest@w4",),
)


def test_a_dry_run_says_who_would_leave_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    words = " ".join(said(monkeypatch, MADE).split())
    assert "class ready coming slots hosts change because" in words
    # what stands in brackets is no markup
    assert "rest 3 1 12.3 2 -2 2.40/s [rising]; w3 is not counted; to drain: w3" in words


def test_a_dry_run_says_that_nothing_would_change(monkeypatch: pytest.MonkeyPatch) -> None:
    made = replace(MADE, target=4, reasons=("enough",), remove=())
    assert "rest 3 1 12.3 4 - enough" in " ".join(said(monkeypatch, made).split())


def test_a_program_reads_the_plan_by_the_names_of_the_inventory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert json.loads(said(monkeypatch, MADE, "--json")) == [
        {
            "name": "rest",
            "ready": 3,
            "booting": 1,
            "target": 2,
            "slots": 12.345,
            "reasons": ["2.40/s [rising]", "w3 is not counted"],
            "remove": ["w3"],
            "draining": ["w4"],
            "change": -2,
        }
    ]


@pytest.mark.parametrize("boot", ["0", "-3", "nan", "inf", "soon", "4000"])
def test_a_boot_time_that_makes_no_sense_is_refused(boot: str) -> None:
    found = CliRunner().invoke(app, ["autoscale", "--dry-run", f"--boot={boot}"])
    assert found.exit_code == 2
    for word in ("expected --boot", f"found '{boot}'", "Fix:"):
        assert word in found.output
