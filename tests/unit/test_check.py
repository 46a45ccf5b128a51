import sys
import textwrap
import time
from pathlib import Path

import pytest

from airflow_config import check as module
from airflow_config import queues
from airflow_config.check import Problem, check_dags
from airflow_config.place import ROOT

MODEL = """\
queues:
  urgent: {priority: 9, task_timeout: 30s, allowed_dags: ["urgent*"]}
  rest: {priority: 1, default: true, task_timeout: 2h}
workers:
  urgent: {home: urgent, concurrency: 8}
  rest: {home: rest, concurrency: 4}
"""

GOOD = """\
from airflow.sdk import DAG, task

with DAG("urgent_sums", schedule=None):

    @task(queue="urgent", retries=0)
    def add(x): ...

    add.expand(x=[1, 2])
"""


@pytest.fixture
def folder(tmp_path):
    dags = tmp_path / "dags"
    (dags / "packs").mkdir(parents=True)
    (dags / ".airflowignore").write_text("packs/\n")
    (dags / "good.py").write_text(GOOD)
    return dags


def check(folder, **files):
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.write_text(textwrap.dedent(text))
    return check_dags(folder, queues.read(MODEL))


def test_good_dags_have_no_problems(folder):
    before = set(sys.modules)
    assert check(folder) == []
    assert not {name for name in set(sys.modules) - before if "good" in name}


def test_the_shipped_dags_have_no_problems():
    assert check_dags(ROOT / "dags", queues.load()) == []


def test_everything_wrong_is_named_at_once(folder):
    found = check(
        folder,
        typo="""\
            from airflow.sdk import DAG, task
            with DAG("sums", schedule=None):
                @task(
                    queue="urgnt",
                )
                def add(): ...
                add()
                @task(queue="urgent")
                def other(): ...
                other()
            """,
        broken="""\
            from airflow.sdk import DAG
            DAG("broken")
            import nowhere_to_be_found
            """,
        classy="""\
            from airflow.sdk import DAG
            class Operator: ...
            DAG("classy", schedule=None)
            """,
        packs__sums="import packs.other\nfrom good import add\nclass Fine: ...\n",
        packs__other="",
    )
    assert [(problem.file, problem.line) for problem in found] == [
        ("dags/broken.py", 3),
        ("dags/classy.py", 2),
        ("dags/packs/sums.py", 1),
        ("dags/packs/sums.py", 2),
        ("dags/typo.py", 4),
        ("dags/typo.py", 8),
    ]
    broken, classy, short, _, typo, other = (problem.message for problem in found)
    assert "found: ModuleNotFoundError: No module named 'nowhere_to_be_found'" in broken
    assert classy.startswith("expected DAGs only, found class 'Operator'. Move it")
    assert short.startswith("expected the import dags.packs.other, found packs.other.")
    assert "DAG 'sums', task 'add': queue: expected one of rest, urgent, found 'urgnt'" in typo
    assert "found 'urgent', which is for urgent*" in other


def test_what_was_cut_is_a_note(folder):
    found = check(
        folder,
        long="""\
            from datetime import timedelta
            from airflow.sdk import DAG, task
            with DAG("sums", schedule=None, max_active_runs=9000):
                @task(execution_timeout=timedelta(hours=9))
                def add(): ...
                add()
            """,
    )
    assert [str(problem) for problem in found] == [
        "dags/long.py:3: note: DAG 'sums': max_active_runs: 9000 was cut to 16 (active runs of "
        "rest)",
        "dags/long.py:4: note: DAG 'sums', task 'add': execution_timeout: 9h was cut to 2h "
        "(queues.rest.task_timeout)",
    ]
    assert {problem.severity for problem in found} == {"note"}


def test_a_module_loaded_under_two_names_is_found(folder):
    found = check(
        folder,
        sneaky="""\
            import importlib
            from airflow.sdk import DAG
            importlib.import_module("packs.sums")
            DAG("sneaky", schedule=None)
            """,
        packs__sums="X = 1\n",
    )
    assert (
        Problem(
            "dags/packs/sums.py",
            None,
            "expected to be loaded as dags.packs.sums only, was loaded as packs.sums",
        )
        in found
    )


def test_a_file_that_cannot_be_read_hides_no_other(folder, monkeypatch):
    read = Path.read_bytes

    def refuse(path):
        # root may read everything, so that modes would prove nothing
        if path.name == "closed.py":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (folder / "gone.py").symlink_to("nowhere.py")
    (folder / "folder.py").mkdir()
    found = check(folder, closed="", classy="class Operator: ...\n")
    assert [str(problem).partition(",")[0] for problem in found] == [
        "dags/classy.py:1: expected DAGs only",
        "dags/closed.py: expected a file that can be read",
        "dags/gone.py: expected a file that can be read",
    ]
    assert found[1].message.endswith(", found Permission denied")
    assert found[2].message.endswith(", found No such file or directory")


def test_a_file_that_ends_the_process(folder):
    ends = (
        "import os, sys\nfrom airflow.sdk import DAG\nprint('so long', flush=True)\nos._exit(3)\n"
    )
    (problem,) = check(folder, bye=ends)
    assert problem.message.startswith("expected DAG files that can be imported, found: Broken")
    assert problem.message.endswith("so long")


def test_a_file_that_is_too_deep_for_python_hides_no_other(folder):
    deep = "x = " + "+".join("1" * 20_000)
    found = check(folder, deep=f"# a DAG of airflow\n{deep}\n", classy="class Operator: ...\n")
    assert [problem.file for problem in found] == ["dags/classy.py", "dags/deep.py"]
    assert "RecursionError" in found[1].message


def wait(_folder, _fleet):
    time.sleep(3600)


def test_files_that_take_too_long_are_given_up(folder, monkeypatch):
    monkeypatch.setattr(module, "PARSE_TIMEOUT", 1)
    with pytest.raises(module.ParseError, match="found: no end after 1 s"):
        module.apart(wait, folder, queues.read(MODEL))


def test_a_folder_that_is_not_there(tmp_path):
    assert [str(problem) for problem in check_dags(tmp_path / "none", queues.read(MODEL))] == [
        f"{tmp_path / 'none'}: expected a folder of DAGs, found none"
    ]
