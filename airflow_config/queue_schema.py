"""queues.yaml as a JSON Schema, for editors, and as the tables of docs/queues.md.

Written from the models of its entries; what a schema cannot say (relations of several keys or
entries) is `queue_rules`' matter, and `airlane check` tells it.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from airflow_config.queue_entries import Hosts, Promise, Queue, Retries, WorkerClass
from airflow_config.queue_rules import NAME, RESERVED

#: Draft 7: what editors' YAML servers know in full.
_DRAFT = "http://json-schema.org/draft-07/schema#"
_PLACE = "#/definitions/{model}"
#: Section of queues.yaml -> its entries and what it is.
_SECTIONS: dict[str, tuple[type[BaseModel], str]] = {
    "queues": (Queue, "What each queue promises. The key names the Celery queue and the pool."),
    "workers": (
        WorkerClass,
        "Who serves the queues. The key is what `airlane worker CLASS` takes.",
    ),
}
_KINDS = {"integer": "a whole number", "boolean": "true or false", "string": "text"}
#: What tells a pattern -> what may stand there.
_UNITS = {"smhd": "a duration", "MiB": "an amount of memory"}


def schema() -> dict[str, Any]:
    """Return the schema of queues.yaml."""
    definitions: dict[str, Any] = {}
    sections = {}
    for section, (model, about) in _SECTIONS.items():
        entry = model.model_json_schema(ref_template=_PLACE)
        definitions |= entry.pop("$defs", {})
        definitions[model.__name__] = _without_name(entry)
        sections[section] = {
            "description": about,
            "type": "object",
            "minProperties": 1,
            "propertyNames": {
                "pattern": NAME.pattern,
                "not": {"enum": sorted(RESERVED[section])},
            },
            "additionalProperties": {"$ref": _PLACE.format(model=model.__name__)},
        }
    found = {
        "$schema": _DRAFT,
        "title": "queues.yaml of airlane",
        "description": "What each queue promises, and who serves it. All else is derived from it.",
        "type": "object",
        "properties": sections,
        "required": list(sections),
        "additionalProperties": False,
        "definitions": dict(sorted(definitions.items())),
    }
    # pydantic writes durations in its own way
    for model in (Retries, Hosts):
        for key, value in model().model_dump(mode="json").items():
            definitions[model.__name__]["properties"][key]["default"] = value
    return dict(_without_titles(found))


def _without_name(entry: dict[str, Any]) -> dict[str, Any]:
    """Take away the name, which is an entry's key and none of its values."""
    properties = {key: value for key, value in entry["properties"].items() if key != "name"}
    required = [key for key in entry["required"] if key != "name"]
    return {**entry, "properties": properties, "required": required}


def _without_titles(value: Any) -> Any:
    """Take away pydantic's titles: they say a key's name again where an editor shows it."""
    if isinstance(value, list):
        return [_without_titles(item) for item in value]
    if not isinstance(value, dict):
        return value
    top = "$schema" in value
    return {
        key: _without_titles(item)
        for key, item in value.items()
        if top or key != "title" or not isinstance(item, str)
    }


def tables() -> str:
    """Return the reference of every key, in Markdown."""
    definitions = schema()["definitions"]
    parts = (
        ("`queues.NAME`", Queue),
        ("`queues.NAME.promise`", Promise),
        ("`queues.NAME.retries`", Retries),
        ("`workers.CLASS`", WorkerClass),
        ("`workers.CLASS.hosts`", Hosts),
    )
    found = []
    for place, model in parts:
        entry = definitions[model.__name__]
        rows = [
            f"| `{key}` | {_kind(field)} | {_default(entry, key)} | {field['description']} |"
            for key, field in entry["properties"].items()
        ]
        head = ["| Key | Value | Default | What follows from it |", "|---|---|---|---|"]
        about = definitions[model.__name__]["description"]
        found.append("\n".join([f"#### {place}", "", about, "", *head, *rows]))
    return "\n\n".join(found) + "\n"


def _kind(field: dict[str, Any]) -> str:
    """Say in words what may stand in a field."""
    if "anyOf" in field:
        return _kind(next(kind for kind in field["anyOf"] if kind.get("type") != "null"))
    if "$ref" in field:
        return "mapping, below"
    if field["type"] == "array":
        return f"list of {_kind(field['items'])}"
    for sign, words in _UNITS.items():
        if sign in field.get("pattern", ""):
            return words
    bounds = f", {field['minimum']:,} to {field['maximum']:,}" if "minimum" in field else ""
    return _KINDS[field["type"]] + bounds


def _default(entry: dict[str, Any], key: str) -> str:
    if key in entry.get("required", ()):
        return "required"
    value = entry["properties"][key].get("default")
    if value in (None, "", [], ()):
        return "none"
    if isinstance(value, dict):
        inside = ", ".join(f"{name}: {item}" for name, item in value.items())
        return f"`{{{inside}}}`"
    if isinstance(value, list | tuple):
        items = ", ".join(f'"{item}"' for item in value)
        return f"`[{items}]`"
    return f"`{str(value).lower()}`"
