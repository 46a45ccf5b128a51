"""What `airlane diff` tells people, and the file that it looks at."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from airflow_config.place import ROOT
from airflow_config.queues import Fleet
from airlane import apply_commands
from airlane.cli import app
from deploy.local import changes
from deploy.local.changes import Changes, PartChange, PoolChange, SettingChange
from deploy.local.instance import Instance
from deploy.local.site import Site

NOTHING = Changes([], [], [], ["postgres", "relay"])
EVERYTHING = Changes(
    settings=[
        SettingChange("control.cfg", "[core] parallelism", "34", "31"),
        SettingChange("worker.cfg", "[celery] pool", None, "prefork"),
        SettingChange("worker.cfg", "[core] [red]odd", "1", None),
    ],
    pools=[
        PoolChange("batch", 8, 5, "follows its workers: batch 5"),
        PoolChange("reports", None, 1, "made: reports 1"),
        PoolChange("low", 2, None, "stays"),
    ],
    parts=[
        PartChange("worker-batch", "restart", ["--concurrency 8 -> 5", "[celery] pool"], 660),
        PartChange("worker-reports", "start", ["new in queues.yaml"], None),
    ],
    unchanged=["postgres", "relay"],
)
SHOWN = """\
Settings:
  control.cfg [core] parallelism: 34 -> 31
  worker.cfg [celery] pool: nothing -> prefork
  worker.cfg [core] [red]odd: 1 -> nothing
Pools:
  batch: 8 -> 5 slots; follows its workers: batch 5
  reports: 1 slots; made: reports 1
  low: 2 slots; stays
Parts:
  worker-batch: restart once its tasks have ended, within 660 s. --concurrency 8 -> 5; [celery] pool
  worker-reports: start. new in queues.yaml
These go on as they are: postgres, relay.
"""


def test_no_value_of_a_secret_is_told(tmp_path: Path) -> None:
    made = Instance(tmp_path / "home", Site())
    made.create()
    file = made.airflow_config("control")
    file.parent.mkdir(exist_ok=True)
    file.write_text("[core]\nfernet_key = of before\nparallelism = 1\n")
    key = made.keys["fernet_key"]
    text = f"[core]\nfernet_key = {key}\nparallelism = 2\n"
    secret, plain = changes._settings({file: text}, set(made.keys.values()))
    assert (plain.before, plain.after) == ("1", "2")
    for value in (secret.before, secret.after):
        assert value is not None
        assert value.startswith("digest ")
    assert secret.before != secret.after


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Fleet]:
    """The queue models that were compared with a stack that runs; everything differs by them."""
    found: list[Fleet] = []

    def compare(_instance: object, _supervisor: object, fleet: Fleet) -> Changes:
        found.append(fleet)
        return EVERYTHING if "reports" in fleet.queues else NOTHING

    monkeypatch.setattr(apply_commands, "existing", lambda: None)
    monkeypatch.setattr(changes, "running", lambda _: None)
    monkeypatch.setattr(changes, "compare", compare)
    return found


def test_people_are_told_all_that_another_file_would_change(
    compared: list[Fleet], tmp_path: Path
) -> None:
    text = (ROOT / "queues.yaml").read_text()
    text = text.replace("workers: #", "  reports: {priority: 2, task_timeout: 10m}\n\nworkers: #")
    text = text.replace(
        "  control: {home", "  reports: {home: reports, concurrency: 1}\n  control: {home"
    )
    file = tmp_path / "next.yaml"
    file.write_text(text)
    done = CliRunner().invoke(app, ["diff", "--queues", str(file)], catch_exceptions=False)
    assert (done.exit_code, done.output) == (1, SHOWN)
    assert "reports" in compared[0].workers


def test_without_a_change_people_are_told_so(compared: list[Fleet]) -> None:
    done = CliRunner().invoke(app, ["diff"], catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, "Nothing would change.\n")
    assert len(compared) == 1
