"""What was derived from queues.yaml, with the reason and the keys that it follows from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_config.located_yaml import Path


@dataclass(frozen=True)
class Derived:
    """A value and where it comes from.

    Parameters
    ----------
    name
        Of the value, in Airflow's words.
    value
        As JSON has it.
    why
        How it follows, in words.
    keys
        The keys of queues.yaml that it follows from; none for what always holds.
    """

    name: str
    value: Any
    why: str
    keys: tuple[Path, ...] = ()

    def to_json(self, where: Callable[[Path], str]) -> dict[str, Any]:
        """Return it for programs.

        Parameters
        ----------
        where
            Says `file:line` of a key.
        """
        places = [where(key) for key in self.keys]
        return {"name": self.name, "value": self.value, "why": self.why, "where": places}
