"""Rules for the files of a DAG folder that can be seen without running them.

Files in the folder define DAGs and nothing else, and everything has one import name, from the
folder's parent: Airflow loads DAG files under odd module names and appends the folder to
sys.path, so that a class or a module would exist twice.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

#: File, line and message.
Found = tuple[str, int | None, str]

#: The folder of plain Python inside the DAG folder, which Airflow does not search for DAGs.
PACKS = "packs"

#: How Airflow names the modules of DAG files.
_AIRFLOW_PREFIX = "unusual_prefix_"


def shown(folder: Path, file: Path) -> str:
    """Return the file's name as messages have it: from the folder's parent."""
    try:
        return str(file.relative_to(folder.parent))
    except ValueError:
        return str(file)


def faults(folder: Path) -> Iterator[Found]:
    """Find classes in DAG files, imports by a short name, and files that cannot be read."""
    files = sorted(file for file in folder.rglob("*.py") if "__pycache__" not in file.parts)
    short = {file.relative_to(folder).parts[0].removesuffix(".py") for file in files}
    short -= {"__init__"}
    for file in files:
        name = shown(folder, file)
        try:
            tree = ast.parse(file.read_bytes(), filename=str(file))
        except IsADirectoryError:
            continue
        except OSError as error:  # Airflow passes over the file, and its DAGs are missing
            yield name, None, f"expected a file that can be read, found {error.strerror or error}"
            continue
        except (SyntaxError, ValueError, RecursionError):
            continue  # the parse by Airflow tells it
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and PACKS not in file.relative_to(folder).parts[:-1]:
                yield (
                    name,
                    node.lineno,
                    f"expected DAGs only, found class {node.name!r}. Move it to a module outside "
                    f"{folder.name}/: Airflow loads DAG files under odd names, so the class would "
                    "not be the same one elsewhere.",
                )
            for module in _imported(node):
                if module.split(".")[0] in short:
                    yield (
                        name,
                        getattr(node, "lineno", None),
                        f"expected the import {folder.name}.{module}, found {module}. Use the one "
                        "name from the repository's root, or the module is loaded twice.",
                    )


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    return []


def loaded_twice(folder: Path) -> list[Found]:
    """Find modules of the folder that this process has loaded under a short name."""
    found: list[Found] = []
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or name == "__main__" or not Path(file).is_relative_to(folder):
            continue
        if not name.startswith((_AIRFLOW_PREFIX, f"{folder.name}.")) and name != folder.name:
            message = f"expected to be loaded as {folder.name}.{name} only, was loaded as {name}"
            found.append((shown(folder, Path(file)), None, message))
    return found


def import_fault(folder: Path, file: Path, text: str) -> Found:
    """Return what Airflow says about a file that it could not take in, with the line in it."""
    lines = re.findall(rf'File "{re.escape(str(file))}", line (\d+)', text)
    last = text.strip().splitlines()[-1].strip() if text.strip() else "no reason given"
    line = int(lines[-1]) if lines else None
    return (shown(folder, file), line, f"expected a file that can be imported, found: {last}")
