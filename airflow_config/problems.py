"""What is wrong with a settings file, in the words of whoever wrote it.

Each problem reads `file:line: key: expected ..., found ...; did you mean ...?`. All of them are
collected before anybody is told, so that a file is put right in one go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from airflow_config.located_yaml import Located, Path

#: What was expected, by pydantic's type of error; `{...}` is from the error's context.
_EXPECTED = {
    "bool_type": "true or false",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a number"),
    "path_type": "a path",
    "string_type": "text",
    "string_pattern_mismatch": "text that matches {pattern}",
    "tuple_type": "a list",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "at least {min_length} of them",
}

T = TypeVar("T", bound=BaseModel)

#: Characters of a found value that are shown.
_SHOWN = 60


def nearest(name: object, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name nearest to `name`, or nothing."""
    match = get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {match[0]!r}?" if match else ""


def expected_one_of(known: Iterable[str], name: object) -> str:
    """Return the message for a name that is none of those known."""
    names = sorted(known)
    return f"expected one of {', '.join(names)}, found {found(name)}{nearest(name, names)}"


def found(value: object) -> str:
    """Name a value as it stands in a YAML file."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


class Problems:
    """Collects what is wrong with one file.

    Parameters
    ----------
    file
        Name of the file as the reader should see it.
    located
        The file's values; its own faults are the first problems.
    """

    def __init__(self, file: str, located: Located) -> None:
        self._file = file
        self._located = located
        self._problems: list[tuple[int, str]] = [
            (fault.line, f"{file}:{fault.line}: {fault.message}") for fault in located.faults
        ]

    def __bool__(self) -> bool:
        return bool(self._problems)

    def texts(self) -> list[str]:
        """Return the problems in the order of the file's lines."""
        return [text for _, text in sorted(self._problems, key=lambda problem: problem[0])]

    def add(self, path: Path, message: str) -> None:
        """Add a problem of the value at `path`; the message says expected and found."""
        line = self._located.line(path)
        key = ".".join(str(part) for part in path)
        self._problems.append((line, f"{self._file}:{line}: {key + ': ' if key else ''}{message}"))

    def expect_mapping(self, path: Path, value: object) -> dict[str, Any]:
        """Return the mapping, or add a problem and return an empty one."""
        if isinstance(value, dict):
            return value
        self.add(path, f"expected a mapping, found {found(value)}")
        return {}

    def validate(self, model: type[T], path: Path, name: str, value: object) -> T | None:
        """Build a model called `name` from the mapping at `path`, or add what is wrong with it."""
        values = self.expect_mapping(path, {} if value is None else value)
        if "name" in values:
            self.add((*path, "name"), f"expected the name as the key alone, found {name!r} again")
        try:
            return model.model_validate({**values, "name": name})
        except ValidationError as error:
            for detail in error.errors():
                # pydantic marks a key of a mapping that is itself wrong
                loc: Path = tuple(part for part in detail["loc"] if part != "[key]")
                self.add((*path, *loc), _describe(model, detail["type"], loc, detail))
            return None


def _describe(model: type[BaseModel], kind: str, loc: Path, detail: Any) -> str:
    if kind == "missing":
        return "expected a value, found nothing"
    if kind == "extra_forbidden":
        known = [field for field in _fields(model, loc[:-1]) if field != "name"]
        return expected_one_of(known, loc[-1])
    if kind == "literal_error":
        return expected_one_of(re.findall(r"'([^']*)'", detail["ctx"]["expected"]), detail["input"])
    expected = _EXPECTED.get(kind)
    if expected is not None:
        message = "expected " + expected.format(**detail.get("ctx", {}))
    else:
        message = detail["msg"]
    # Relations of several keys (`order`) name the keys; the whole mapping would say less.
    return message if kind == "order" else f"{message}, found {found(detail['input'])}"


def _fields(model: type[BaseModel], loc: Path) -> list[str]:
    for part in loc:
        annotation = model.model_fields[str(part)].annotation
        inner = [annotation, *get_args(annotation)]
        model = next(t for t in inner if isinstance(t, type) and issubclass(t, BaseModel))
    return list(model.model_fields)
