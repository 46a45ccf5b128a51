"""The files of the tests themselves: pytest can load all of them at once, each one time."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from airflow_config.place import ROOT

FILES = sorted((ROOT / "tests").rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Return the names of the modules that a file imports, of all that may be one."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_names_of_test_files_are_unique() -> None:
    names = Counter(file.name for file in FILES if file.name.startswith("test_"))
    twice = [name for name, count in names.items() if count > 1]
    assert twice == [], "expected a name of its own: tests/ has no packages below it"


def test_no_test_file_is_imported_by_another() -> None:
    wrong = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in FILES
        for name in imported(file)
        if name.startswith("tests.") and name.rpartition(".")[2].startswith("test_")
    }
    assert wrong == set(), "expected helpers in a plain module: pytest loads test files by itself"
