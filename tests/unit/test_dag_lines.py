"""Messages name the line where an author wrote what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_config.dag_lines import line_of_dag, line_of_task

SOURCE = """\
from airflow.sdk import DAG, dag, task
WHERE = "rest"
with DAG("first", max_active_runs=9, default_args={
    "queue": "fromdefaults",
}):
    @task(
        queue="one",
    )
    def add(): ...
    add()
    @task
    def bare(): ...
    bare()
    BashOperator(task_id="classic",
        bash_command="true",
        queue=WHERE)
    FileSensor.partial(task_id="mapped", queue="two").expand(filepath=[])
with DAG(
    dag_id="second",
):
    @task(queue="other")
    def add(): ...

@dag(schedule=None,
     max_active_tasks=3)
def third(): ...
for table in ("a", "b"): BashOperator(task_id=f"load_{table}", queue="three")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "dags.py"
    found.write_text(SOURCE)
    return found


@pytest.mark.parametrize(
    ("task_id", "keyword", "value", "line"),
    [
        ("add", "queue", "one", 7),
        ("add", "queue", "other", 21),
        ("group.inner.add", "queue", "one", 7),
        ("add__2", "queue", "one", 7),
        ("classic", "queue", "rest", 16),
        ("mapped", "queue", "two", 17),
        ("bare", "queue", "fromdefaults", 4),
        ("bare", "pool", "mine", 12),
        ("load_b", "queue", "three", 27),
        ("unload_b", "queue", "three", None),
        ("gone", "pool", "mine", None),
    ],
)
def test_the_line_of_a_task_s_argument(
    file: Path, task_id: str, keyword: str, value: str, line: int | None
) -> None:
    assert line_of_task(file, task_id, keyword, value) == line


@pytest.mark.parametrize(
    ("dag_id", "keyword", "line"),
    [
        ("first", "max_active_runs", 3),
        ("second", "max_active_runs", 18),
        ("third", "max_active_tasks", 25),
        ("none", "max_active_runs", None),
    ],
)
def test_the_line_of_a_dag_s_argument(
    file: Path, dag_id: str, keyword: str, line: int | None
) -> None:
    assert line_of_dag(file, dag_id, keyword) == line


def test_a_file_that_cannot_be_read_has_no_lines(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("def (:\n")
    assert line_of_task(broken, "add", "queue") is None
    assert line_of_task(tmp_path / "gone.py", "add", "queue") is None
    deep = tmp_path / "deep.py"
    deep.write_text("x = " + "+".join("1" * 20_000))
    assert line_of_task(deep, "add", "queue") is None


def test_a_file_that_was_changed_is_read_again(file: Path) -> None:
    assert line_of_task(file, "add", "queue", "one") == 7
    file.write_text("\n" + SOURCE)
    assert line_of_task(file, "add", "queue", "one") == 8
