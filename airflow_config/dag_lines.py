"""Where in a DAG file something stands, for messages: found in its source, without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

#: What a task group puts before a task's id, and what Airflow appends to the second of that name.
_GROUPS, _REPEATED = re.compile(r"^.*\."), re.compile(r"__\d+$")


def line_of_task(file: Path, task_id: str, keyword: str, value: object = None) -> int | None:
    """Return the line of a task's argument; else that of the task; None when neither is found.

    Parameters
    ----------
    file
        The DAG file.
    task_id
        As Airflow has it, with the names of task groups.
    keyword
        The argument's name, such as `queue`.
    value
        Its value, which tells tasks of the same name in several DAGs of a file apart.
    """
    tree = _tree(file)
    if tree is None:
        return None
    calls = list(_calls(tree, _REPEATED.sub("", _GROUPS.sub("", task_id))))
    arguments = [argument for _, call in calls for argument in call if argument.arg == keyword]
    same = [argument for argument in arguments if _is(argument.value, value)]
    if same or arguments:
        return (same or arguments)[0].value.lineno
    from_defaults = _defaults(tree, keyword, value)
    return next(iter([*from_defaults, *(line for line, _ in calls)]), None)


def line_of_dag(file: Path, dag_id: str, keyword: str) -> int | None:
    """Return the line of a DAG's argument; else that of the DAG; None when neither is found."""
    tree = _tree(file)
    if tree is None:
        return None
    lines = []
    for node in ast.walk(tree):
        for call in _dag_calls(node, dag_id):
            lines += [
                argument.value.lineno for argument in call.keywords if argument.arg == keyword
            ]
            lines += [call.lineno]
    return next(iter(lines), None)


def _calls(tree: ast.Module, name: str) -> Iterator[tuple[int, list[ast.keyword]]]:
    """Yield line and arguments of each call that makes a task of this name."""
    maybe = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            decorators = [call for call in node.decorator_list if isinstance(call, ast.Call)]
            yield node.lineno, [argument for call in decorators for argument in call.keywords]
        elif isinstance(node, ast.Call):
            ids = [argument.value for argument in node.keywords if argument.arg == "task_id"]
            if any(_is(found, name) for found in ids):
                yield node.lineno, node.keywords
            elif any(_may_be(found, name) for found in ids):
                maybe.append((node.lineno, node.keywords))
    yield from maybe


def _defaults(tree: ast.Module, keyword: str, value: object) -> Iterator[int]:
    """Yield the lines of entries like those of `default_args`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, found in zip(node.keys, node.values, strict=True):
                if key is not None and _is(key, keyword) and _is(found, value):
                    yield found.lineno


def _dag_calls(node: ast.AST, dag_id: str) -> Iterator[ast.Call]:
    if isinstance(node, ast.FunctionDef) and node.name == dag_id:
        yield from (call for call in node.decorator_list if isinstance(call, ast.Call))
    if isinstance(node, ast.Call):
        named = [argument.value for argument in node.keywords if argument.arg == "dag_id"]
        if any(_is(found, dag_id) for found in [*node.args[:1], *named]):
            yield node


def _may_be(node: ast.expr, name: str) -> bool:
    """Tell whether an f-string, such as `f"load_{table}"`, can have this value."""
    if not isinstance(node, ast.JoinedStr):
        return False
    parts = [
        re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*"
        for part in node.values
    ]
    return re.fullmatch("".join(parts), name, re.DOTALL) is not None


def _is(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


def _tree(file: Path) -> ast.Module | None:
    try:
        return _parsed(file, file.stat().st_mtime_ns)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


@lru_cache(maxsize=8)
def _parsed(file: Path, _changed: int) -> ast.Module:
    return ast.parse(file.read_bytes())
