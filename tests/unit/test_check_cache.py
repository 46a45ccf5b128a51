"""A check that is asked again, of files that did and did not change."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_config import check_cache, queues
from airflow_config.check import check_dags
from airflow_config.place import ROOT

#: Files of a larger folder, and seconds of a processor that a second check of them may take.
FILES, WARM = 50, 2.0

MODEL = """\
queues: {rest: {priority: 1, default: true, task_timeout: 2h}}
workers: {rest: {home: rest, concurrency: 4}}
"""
#: Leaves a trace of each time that it is parsed, outside the DAG folder.
DAG = """\
from pathlib import Path
from airflow.sdk import DAG, task
from helpers.sums import QUEUE

with Path(__file__).parents[1].joinpath("parses").open("a") as parses:
    parses.write("x")
with DAG("sums", schedule=None):
    @task(queue=QUEUE)
    def add(): ...
    add()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    dags, helpers = tmp_path / "dags", tmp_path / "helpers"
    dags.mkdir()
    helpers.mkdir()
    (helpers / "__init__.py").touch()
    (helpers / "sums.py").write_text('QUEUE = "rest"\n')
    (dags / "sums.py").write_text(DAG)
    # the child that parses has it from here
    monkeypatch.syspath_prepend(tmp_path)
    return dags


def parses(folder: Path) -> int:
    """Return how often the file was parsed."""
    trace = folder.parent / "parses"
    return len(trace.read_text()) if trace.exists() else 0


def look(folder: Path, model: str = MODEL) -> list[str]:
    return [str(problem) for problem in check_dags(folder, queues.read(model), cache=True)]


def test_what_did_not_change_is_not_parsed_again(folder: Path) -> None:
    assert look(folder) == look(folder) == []
    assert parses(folder) == 1
    assert (folder.parent / ".airlane_cache" / ".gitignore").read_text() == "*\n"


def test_a_module_that_a_dag_imports_counts(folder: Path) -> None:
    assert look(folder) == []
    (folder.parent / "helpers" / "sums.py").write_text('QUEUE = "gone"\n')
    (problem,) = look(folder)
    assert "found 'gone'" in problem
    assert look(folder) == [problem]
    assert parses(folder) == 2, "what is wrong is kept too"


def test_each_file_of_the_folder_counts(folder: Path) -> None:
    assert look(folder) == []
    (folder / "other.py").write_text("class Operator: ...\n")
    assert len(look(folder)) == 1
    (folder / "other.py").unlink()
    assert look(folder) == []


def test_the_queue_model_counts(folder: Path) -> None:
    assert look(folder) == []
    assert check_cache.load(folder, queues.read(MODEL)) == []
    assert check_cache.load(folder, queues.read(MODEL.replace("2h", "3h"))) is None


def test_the_rules_count(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert look(folder) == []
    assert check_cache.load(folder, queues.read(MODEL)) == []
    # those of another version
    monkeypatch.setattr(check_cache, "__file__", str(tmp_path / "check_cache.py"))
    assert check_cache.load(folder, queues.read(MODEL)) is None


def test_a_damaged_cache_is_as_none(folder: Path) -> None:
    look(folder)
    for content in ("", "{", "[]", '{"key": 1}', '{"key": 1, "imported": [1]}'):
        (folder.parent / ".airlane_cache" / "check.json").write_text(content)
        assert check_cache.load(folder, queues.read(MODEL)) is None, content
    assert look(folder) == []
    assert parses(folder) == 2


def test_a_check_that_broke_off_is_not_kept(folder: Path) -> None:
    (folder / "ends.py").write_text("# a DAG of airflow\nimport os\nos._exit(3)\n")
    assert "found: Broken" in look(folder)[0]
    assert not (folder.parent / ".airlane_cache").exists()


def test_a_file_that_cannot_be_read_is_told_and_nothing_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        # root may read everything, so that modes would prove nothing
        if path.name == "closed.py":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (folder / "closed.py").touch()
    (problem,) = look(folder)
    assert "expected a file that can be read" in problem
    assert not (folder.parent / ".airlane_cache").exists()


def test_pytest_for_authors_has_a_test_for_each_file(folder: Path) -> None:
    (folder / "wrong.py").write_text(
        'from airflow.sdk import DAG, task\nwith DAG("w", schedule=None):\n'
        '    @task(queue="rst")\n    def add(): ...\n    add()\n'
    )
    model = folder.parent / "queues.yaml"
    model.write_text(MODEL)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "airlane.dag_tests"],
        cwd=folder.parent,
        env={**os.environ, "AIRLANE_DAGS": str(folder), "AIRLANE_QUEUES": str(model)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "dags/wrong.py:3: DAG 'w', task 'add': queue: expected one of rest" in done.stdout


def test_a_second_check_of_many_files_costs_little(folder: Path) -> None:
    for number in range(FILES - 1):
        text = DAG.replace('DAG("sums"', f'DAG("sums{number}"')
        (folder / f"sums{number}.py").write_text(text)
    model = folder.parent / "queues.yaml"
    model.write_text(MODEL)
    words = [sys.executable, "-m", "airlane", "check", "--dags", str(folder)]
    costs = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*words, "--queues", str(model)],
            env={**os.environ, "PYTHONPATH": f"{folder.parent}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert (done.returncode, done.stderr) == (0, "")
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert parses(folder) == FILES, "each once"
    assert costs[1] < WARM, costs
