"""YAML as plain values that still know the line they were written on.

PyYAML drops positions when it builds values and lets the last of two equal keys win. An
operator who mistypes a settings file needs the line, and a key given twice is a mistake.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.reader import ReaderError

#: The way to a value: keys of mappings and indices of lists, from the top.
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """Something that the file should not hold: the line and what is wrong there."""

    line: int
    message: str


@dataclass
class Located:
    """A file's values, where each was written, and what could not be taken over.

    Parameters
    ----------
    values
        Mappings, lists and scalars, as `yaml.safe_load` would return them.
    lines
        Line of each key (of each item, in a list), counted from 1.
    faults
        Duplicate keys, keys that are not words, anything that is not plain YAML.
    """

    values: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Return the line of `path`, or of the nearest thing around it that was written."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str) -> Located:
    """Read YAML; what is wrong with it is in `faults`, never raised."""
    located = Located()
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            located.lines[()] = node.start_mark.line + 1
            located.values = _Builder(loader, located).build(node, (), ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        located.faults.append(Fault(line, f"expected valid YAML, found: {error.problem}"))
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        located.faults.append(Fault(line, f"expected text, found character {error.character:#x}"))
    except RecursionError:
        located.values = None
        located.faults.append(Fault(1, "expected valid YAML, found: too many levels of nesting"))
    return located


class _Builder:
    def __init__(self, loader: yaml.SafeLoader, located: Located) -> None:
        self._loader = loader
        self._located = located

    def build(self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]) -> Any:
        if any(node is other for other in above):
            self._fault(node, "expected a value, found an alias of the mapping or list around it")
            return None
        above = (*above, node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, above)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, i), above) for i, item in enumerate(node.value)]
        try:
            value = self._loader.construct_object(node)
            if isinstance(value, int):
                # In an error it must be written: Python refuses to for thousands of digits.
                str(value)
        except ValueError as error:
            # Scalars that look like a date and are none, such as 2026-13-45.
            self._fault(node, f"expected valid YAML, found: {error}")
            return None
        except (LookupError, AttributeError):
            # A tag that does not fit: `!!bool maybe`, `!!int ''`, `!!timestamp today`.
            kind = node.tag.rpartition(":")[2]
            self._fault(node, f"expected valid YAML, found: {node.value!r}, which is no {kind}")
            return None
        return value

    def _mapping(
        self, node: yaml.MappingNode, path: Path, above: tuple[yaml.Node, ...]
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            # The text, not the value: `on` and `1` are words to whoever wrote them as a name.
            key = key_node.value
            if not isinstance(key, str) or key_node.tag == "tag:yaml.org,2002:merge":
                self._fault(key_node, "expected a word as a key, found a merge, mapping or list")
                continue
            place = (*path, key)
            if key in values:
                first = self._located.lines[place]
                self._fault(key_node, f"expected each key once, found {key!r} again (line {first})")
                continue
            self._located.lines[place] = key_node.start_mark.line + 1
            values[key] = self.build(value_node, place, above)
        return values

    def _item(self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]) -> Any:
        self._located.lines[path] = node.start_mark.line + 1
        return self.build(node, path, above)

    def _fault(self, node: yaml.Node, message: str) -> None:
        self._located.faults.append(Fault(node.start_mark.line + 1, message))
