"""What is known of a peer before it runs: its name, its promises, how its parts start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.benchmarks.peers.stack import Stack

#: Slots of the worker that serves the chain, and of the one that serves the flood: together the
#: 16 of the stock Airflow worker.
SLOTS = 8

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Peer:
    """One peer. Its folder has its requirements and the programs of its environment."""

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
    #: Variables of its parts, beside those that every peer has.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: Cases that a whole benchmark leaves out.
    without: frozenset[str] = frozenset()
    #: The peer of which this one is a variant; they share a folder and an environment.
    base: str = ""

    def variant(
        self, suffix: str, note: str, *, without: tuple[str, ...] = (), **settings: str
    ) -> Peer:
        """Return the same peer with other settings.

        It differs in how often it polls, not in what survives a kill: that is not measured again.
        """
        left_out = frozenset({"after_kill", *without})
        name = f"{self.name}-{suffix}"
        return replace(
            self, name=name, base=self.name, settings=settings, note=note, without=left_out
        )

    @property
    def folder(self) -> Path:
        """Where its requirements and programs are."""
        return FOLDER / (self.base or self.name)

    @property
    def lock(self) -> Path:
        """What is installed into its environment."""
        return self.folder / "requirements.lock"
