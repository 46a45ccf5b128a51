"""The benchmark's DAGs: what the queues let in, and the shape of the talk's."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from airflow_config import check, queues
from tests.benchmarks import dag_files, stack
from tests.benchmarks.stack import STANDARD, WIDE

DAGS = Path(stack.__file__).parent / "dags"


@pytest.mark.parametrize("layout", [STANDARD, WIDE], ids=lambda layout: layout.name)
def test_the_queues_let_every_dag_in(layout) -> None:
    assert check.check_dags(DAGS, queues.load(layout.queues)) == []


def test_a_file_is_named_like_its_dag() -> None:
    # by their names the stacks await them
    for file in DAGS.glob("*.py"):
        names = {n.name for n in ast.parse(file.read_text()).body if isinstance(n, ast.FunctionDef)}
        assert file.stem in names


def test_the_talks_dag_has_40_tasks_12_deep() -> None:
    tree = ast.parse((DAGS / "talk.py").read_text())
    widths = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "WIDTHS"
    )
    assert (len(widths), sum(widths)) == (12, 40)
    assert (min(widths), max(widths)) == (1, 6)


def test_singleton_files_are_dags_that_can_run(tmp_path: Path) -> None:
    for name, schedule in (("cron_000", "* * * * *"), ("file_000", None)):
        (tmp_path / f"{name}.py").write_text(dag_files.source(name, schedule))
    assert check.check_dags(tmp_path, queues.load(STANDARD.queues)) == []
