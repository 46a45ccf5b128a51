"""The hook for pre-commit: when it runs, and what it says of a DAG that is wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_config.place import ROOT

WRONG = """\
from airflow.sdk import DAG, task
with DAG("night_report", schedule=None):
    @task(queue="bacth")
    def add(): ...
    add()
"""


@pytest.fixture
def hook() -> dict[str, Any]:
    (found,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    return dict(found)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one DAG file: the command looks at the folder that its code stands in."""
    for package in ("airlane", "airflow_config", "deploy", "intake", "workers"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "queues.yaml", tmp_path)
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "__init__.py").touch()
    return tmp_path


def run(hook: dict[str, Any], checkout: Path) -> subprocess.CompletedProcess[str]:
    """Do as pre-commit does with a hook that gets no file names."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AIRLANE")}
    return subprocess.run(
        [sys.executable, "-m", *hook["entry"].split()],
        cwd=checkout,
        env={**environment, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "path", ["dags/night_report.py", "dags/packs/fraud.py", "dags/a/b/c.py", "queues.yaml"]
)
def test_it_runs_for_what_it_checks(hook: dict[str, Any], path: str) -> None:
    assert re.search(hook["files"], path)


@pytest.mark.parametrize(
    "path",
    [
        *("dags/README.md", "dags/night.pyc", "dags.py", "dags_py", "olddags/night.py"),
        *("tests/benchmarks/dags/a.py", "tests/benchmarks/queues.yaml", "queues.yaml.orig"),
        *("queuesXyaml", "docs/queues.md", "airlane/check_commands.py"),
    ],
)
def test_it_does_not_run_for_anything_else(hook: dict[str, Any], path: str) -> None:
    assert not re.search(hook["files"], path)


def test_it_keeps_a_dag_with_a_wrong_queue_out(hook: dict[str, Any], checkout: Path) -> None:
    file = checkout / "dags" / "night_report.py"
    file.write_text(WRONG)
    done = run(hook, checkout)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "dags/night_report.py:3: DAG 'night_report', task 'add': queue: expected one of "
    )
    assert "found 'bacth'; did you mean 'batch'?" in done.stderr
    file.write_text(WRONG.replace("bacth", "batch"))
    done = run(hook, checkout)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_docs_show_the_same_hook(hook: dict[str, Any]) -> None:
    reference = (ROOT / "docs" / "reference.md").read_text()
    (block,) = re.findall(r"```yaml\n(repos:\n.*?)```", reference, re.DOTALL)
    (repository,) = yaml.safe_load(block)["repos"]
    hook.pop("description")
    assert repository == {"repo": "local", "hooks": [hook]}
