"""A test for each DAG file, for authors and their CI: `pytest --pyargs airlane.dag_tests`.

What `airlane check` finds, file by file. `AIRLANE_DAGS` names another folder than `dags`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow_config import check, queues
from airflow_config.check import Problem
from airflow_config.place import ROOT


def pytest_generate_tests(metafunc: Any) -> None:
    """Have pytest make a test of each file of the DAG folder, and of each other that is wrong."""
    folder = Path(os.environ.get("AIRLANE_DAGS") or ROOT / "dags").resolve()
    try:
        found = check.check_dags(folder, queues.load(), cache=True)
    except queues.QueuesError as error:
        found = check.queue_problems(error)
    files = {f"{folder.name}/{file.name}" for file in folder.glob("*.py")}
    errors = [problem for problem in found if problem.severity == "error"]
    names = sorted(files | {problem.file for problem in errors})
    wrong = [[problem for problem in errors if problem.file == name] for name in names]
    metafunc.parametrize("problems", wrong, ids=names)


def test_dag_file(problems: list[Problem]) -> None:
    """Expect a file that Airflow can take in, with tasks that fit queues.yaml."""
    assert not problems, "\n".join(map(str, problems))  # noqa: S101 - it is a test
