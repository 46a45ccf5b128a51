"""What is known of a peer before it runs: its name, its promises, how its parts start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers.stack import Stack

#: Slots of the worker that serves the chain, and of the one that serves the flood: together the
#: 16 of the stock Airflow worker.
SLOTS = 8

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Peer:
    """One peer. Its folder has its name, its requirements, and the programs of its environment."""

    name: str
    #: The distribution whose version is shown.
    package: str
    isolation: str
    durability: str
    #: What a reader must know to judge the figures.
    note: str
    #: Starts the parts, in order, each awaited.
    start: Callable[[Stack], None]
    #: The parts in which the steps of the chain run; the others serve them.
    workers: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where its requirements and programs are."""
        return FOLDER / self.name

    @property
    def lock(self) -> Path:
        """What is installed into its environment."""
        return self.folder / "requirements.lock"
