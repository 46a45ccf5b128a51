"""`airlane explain` and `airlane render`: what is derived from queues.yaml, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from airflow_config import place, pools, queue_schema, queue_settings, queues, settings
from airflow_config.place import Place
from airlane.cli import app
from workers.command import worker_command

MODEL = """\
queues:
  urgent: {priority: 9, task_timeout: 30s}
  rest: {priority: 1, default: true, task_timeout: 2h}
workers:
  urgent: {home: urgent, concurrency: 7}
  rest: {home: rest, lends_to: [urgent], concurrency: 4}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "q.yaml"
    found.write_text(MODEL)
    return found


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def shown(*words: str) -> Any:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_render_prints_all_that_is_derived(file: Path) -> None:
    fleet = queues.load(file)
    found = shown("render", "--queues", str(file))
    assert set(found) == {"airflow", "celery", "pools", "workers", "flower"}
    assert found["airflow"]["control"]["core"]["parallelism"] == str(fleet.parallelism())
    assert found["workers"]["rest"]["command"] == worker_command(fleet, "rest")
    slots = {pool["name"]: pool["slots"] for pool in found["pools"]}
    assert slots == {pool.name: pool.slots for pool in pools.desired_pools(fleet)}
    visible = found["celery"]["rest"]["broker_transport_options"]
    assert visible["visibility_timeout"] == 2 * 2 * 3600 + 3600
    assert visible["unacked_key"] == "unacked:rest"
    assert found["flower"]["read_only"] is True


def test_render_gives_the_reason_and_the_line(file: Path) -> None:
    text = run("render", "airflow", "pools", "--queues", str(file)).output
    lines = text.splitlines()
    above = lines[lines.index("visibility_timeout = 18000") - 1]
    assert above.startswith("# twice the longest task_timeout, 2h of rest")
    assert above.endswith(f"({file}:3)")
    assert "urgent: 11 slots = 7 of urgent" in text


def test_render_names_what_there_is(file: Path) -> None:
    done = run("render", "pool", "--queues", str(file))
    assert done.exit_code == 2
    assert "did you mean 'pools'" in " ".join(done.output.split())
    assert run("render", "schema", "pools").exit_code == 2


def test_render_prints_the_schema_whatever_the_file_holds(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("queues: [\n")
    monkeypatch.setenv("AIRLANE_QUEUES", str(file))
    assert json.loads(run("render", "schema").output) == queue_schema.schema()
    assert shown("render", "schema") == queue_schema.schema()


def test_explain_a_queue(file: Path) -> None:
    found = shown("explain", "urgent", "--queues", str(file))
    assert (found["queue"], found["where"]) == ("urgent", f"{file}:2")
    values = {value["name"]: value for value in found["values"]}
    assert values["pool slots"]["value"] == 11
    assert values["pool slots"]["where"] == [f"{file}:5", f"{file}:6"]
    assert values["execution_timeout"]["where"] == [f"{file}:2"]
    text = run("explain", "urgent", "--queues", str(file)).output
    assert text.startswith("Queue urgent, ")
    assert "q.yaml:5" in text


def test_a_pattern_is_shown_as_it_stands(file: Path) -> None:
    pattern = "night_[ab]*, [/x]"
    file.write_text(MODEL.replace("{priority: 9,", f"{{priority: 9, allowed_dags: ['{pattern}'],"))
    done = run("explain", "urgent", "--queues", str(file))
    assert done.exit_code == 0, done.output
    assert pattern in done.output


def test_explain_a_task_and_what_is_refused(file: Path, tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "one.py").write_text(
        "from airflow.sdk import DAG, task\n"
        "with DAG('urgent', schedule=None):\n"
        "    @task(pool='mine', retries=1)\n"
        "    def step(): ...\n"
        "    step()\n"
    )
    where = ("--queues", str(file), "--dags", str(dags))
    done = run("explain", "urgent.step", *where, "--json")
    assert done.exit_code == 1, "Airflow would not take it in"
    found = json.loads(done.output)
    assert "found 'mine'" in found["refused"]
    values = {value["name"]: value for value in found["values"]}
    assert (values["retries"]["state"], values["retries"]["value"]) == ("kept", 1)
    assert shown("explain", "--dag", "urgent", *where)["dag"] == "urgent"
    table = run("explain", "--dag", "urgent", *where).output.splitlines()[1]
    assert table.split() == ["what", "author", "holds", "state", "why", "where"]
    nowhere = run("explain", "urgent.step", "--dags", str(tmp_path / "none"))
    assert nowhere.exit_code == 2
    assert "expected a folder of DAGs, found none" in " ".join(nowhere.output.split())
    unknown = run("explain", "urgnt.step", *where)
    assert unknown.exit_code == 2
    assert "did you mean" in unknown.output


_PATHS = {
    **dict.fromkeys(("home", "logs", "airflow_home"), Path()),
    "root": place.ROOT,
    "spread": None,
}


def _settings(fleet: queues.Fleet, role: settings.Role) -> dict[tuple[str, str], str]:
    nowhere: Any = dict.fromkeys(Place.__dataclass_fields__, "x")
    there = Place(**nowhere | _PATHS)
    found = settings.airflow_settings(fleet, there, role)
    return {(section, key): value for section in found for key, value in found[section].items()}


@pytest.mark.parametrize("role", ["control", "worker"])
def test_all_settings_that_follow_from_the_model_have_a_reason(role: settings.Role) -> None:
    other = """\
queues:
  top: {priority: 90, task_timeout: 9m, promise: {end_to_end: 10m, task: 1m, gap: 3s}}
  low: {priority: 3, default: true, task_timeout: 3h, max_active_runs: 3, retries: {count: 1,
    delay: 7s}}
workers:
  top: {home: top, concurrency: 3}
  low: {home: low, lends_to: [top], concurrency: 5, hosts: {max: 9}}
"""
    one, two = queues.read(MODEL), queues.read(other)
    before, after = _settings(one, role), _settings(two, role)
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    known = {key for key, found in queue_settings.derive(one).items() if role in found.roles}
    assert changed == known
