"""The schema of queues.yaml says what the parser says, as far as a schema can."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pydantic import BaseModel, ValidationError

from airflow_config import queues
from airflow_config.durations import parse_duration
from airflow_config.place import ROOT
from airflow_config.queue_entries import Hosts, Promise, Queue, Retries, WorkerClass
from airflow_config.queue_schema import schema
from airflow_config.queues import QueuesError
from airflow_config.sizes import parse_size


def _pattern(validator: Any, pattern: str, value: Any, _schema: Any) -> Any:
    """As ECMA-262 has it, which editors go by: `$` is the very end, not before a line break."""
    if validator.is_type(value, "string") and not re.search(pattern.replace("$", r"\Z"), value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


Validator = jsonschema.validators.extend(Draft7Validator, {"pattern": _pattern})
SCHEMA = schema()
SHIPPED = yaml.safe_load((ROOT / "queues.yaml").read_text(encoding="utf-8"))
FILES = [ROOT / "queues.yaml", *sorted((ROOT / "tests").rglob("queues*.yaml"))]


def of(name: str) -> Any:
    """Return a validator of one definition."""
    return Validator({"$ref": f"#/definitions/{name}", "definitions": SCHEMA["definitions"]})


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)


def test_the_files_that_are_written_from_the_models_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("queue_docs", ROOT / "tools" / "queue_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stale = [path.name for path, text in module.pages().items() if path.read_text() != text]
    assert stale == [], "expected them as the models are. Fix: make docs"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_of_ours_fits_it(path: Path) -> None:
    Validator(SCHEMA).validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_the_first_line_names_it_for_editors() -> None:
    first = (ROOT / "queues.yaml").read_text(encoding="utf-8").partition("\n")[0]
    found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert found
    assert json.loads((ROOT / found[1]).read_text(encoding="utf-8")) == SCHEMA


def test_each_key_has_a_description() -> None:
    for name, entry in SCHEMA["definitions"].items():
        bare = [key for key, field in entry["properties"].items() if not field.get("description")]
        assert bare == [], name


#: Near misses and what is right, of any kind.
SCALARS = st.one_of(
    st.sampled_from(
        [
            *("1s", "90s", "3m", "6h", "1d", "9999999d", "10000000s", "0s", "01m", "3M", "3"),
            *("3 m", "3m\n", " 3m", "\u0663m", "512MiB", "4GiB", "0GiB", "4Gi", "999999GiB"),
            *("1000000MiB", "4GiB\n", "", "*", "onboarding*", "a.b", "a b", "_x.y1", "1a"),
            *("\u00e9", "a\n", None, True, False, 0, 1, -1, 16, 100, 101, 1_000, 1_001),
            *(10_000, 10_001),
            *(100_000, 100_001, 1_000_000, 1_000_001, 0.5, {}, [], ["x"], {"a": 1}),
        ]
    ),
    st.text(max_size=6),
    st.integers(),
    st.from_regex(r"[0-9]{1,8}[a-zA-Z]{1,3}", fullmatch=True),
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.fixed_dictionaries(dict.fromkeys(("end_to_end", "task", "gap"), SCALARS)),
    st.fixed_dictionaries({}, optional=dict.fromkeys(("count", "delay", "max_delay"), SCALARS)),
    st.fixed_dictionaries({}, optional=dict.fromkeys(("min", "max"), SCALARS)),
)
GOOD: dict[type[BaseModel], dict[str, Any]] = {
    Queue: {
        "priority": 5,
        "task_timeout": "1m",
        "promise": {"end_to_end": "3m", "task": "1m", "gap": "3s"},
        "retries": {"max_delay": "10s"},
    },
    WorkerClass: {"home": "onboarding", "concurrency": 8, "lends_to": ["x"], "drain": "6h"},
    Promise: {"end_to_end": "3m", "task": "1m", "gap": "3s"},
    Retries: {"count": 3, "delay": "1s"},
    Hosts: {"min": 1, "max": 10},
}


@st.composite
def entries(draw: Any) -> tuple[type[BaseModel], dict[str, Any]]:
    """An entry that is right but for a key or two."""
    model = draw(st.sampled_from(list(GOOD)))
    entry = copy.deepcopy(GOOD[model])
    keys = st.sampled_from([*(key for key in model.model_fields if key != "name"), "other"])
    for key in draw(st.lists(keys, max_size=2)):
        if draw(st.booleans()) and key in entry:
            del entry[key]
        else:
            entry[key] = draw(VALUES)
    return model, entry


def parsed(model: type[BaseModel], entry: dict[str, Any]) -> bool:
    """Say whether the parser takes an entry, but for relations of several keys."""
    name = {"name": "x"} if "name" in model.model_fields else {}
    try:
        model.model_validate({**entry, **name})
    except ValidationError as error:
        return {detail["type"] for detail in error.errors()} <= {"order"}
    return True


@given(entries())
def test_an_entry_fits_the_schema_when_it_fits_the_parser(
    found: tuple[type[BaseModel], dict[str, Any]],
) -> None:
    model, entry = found
    assert of(model.__name__).is_valid(entry) == parsed(model, entry), entry


def _reads(read: Any, text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


@given(st.one_of(st.text(), st.from_regex(r"[0-9]{1,8}(s|m|h|d|MiB|GiB|w|)\s?", fullmatch=True)))
def test_durations_and_sizes_are_what_the_parser_takes(text: str) -> None:
    duration = SCHEMA["definitions"]["Queue"]["properties"]["task_timeout"]
    size = SCHEMA["definitions"]["Queue"]["properties"]["task_memory"]
    assert Validator(duration).is_valid(text) == _reads(parse_duration, text)
    assert Validator(size).is_valid(text) == _reads(parse_size, text)


@given(
    st.one_of(
        st.from_regex(r"[a-z_0-9A-Z.-]{1,4}\s?", fullmatch=True),
        st.sampled_from(["all", "unacked", "default_pool", "a" * 63, "a" * 64, "b\n", ""]),
    )
)
def test_names_are_what_the_parser_takes(name: str) -> None:
    for section in ("queues", "workers"):
        entry = GOOD[Queue if section == "queues" else WorkerClass]
        model = {**copy.deepcopy(SHIPPED), section: {**SHIPPED[section], name: entry}}
        said = ""
        try:
            queues.read(yaml.safe_dump(model))
        except QueuesError as error:
            said = str(error)
        assert Validator(SCHEMA).is_valid(model) == ("expected a name" not in said), said


@pytest.mark.parametrize("wrong", ["queus", "worker"])
def test_an_unknown_section_is_refused(wrong: str) -> None:
    assert not Validator(SCHEMA).is_valid({**SHIPPED, wrong: {}})
    assert not Validator(SCHEMA).is_valid({"queues": SHIPPED["queues"]})
