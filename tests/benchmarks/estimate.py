"""How long a benchmark takes, told before it begins and while it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.benchmarks.plan import Group

#: Seconds to start a stack and to stop it, on two cores.
UP = {"stock": 20.0, "airlane": 40.0}
DOWN = {"stock": 5.0, "airlane": 8.0}
#: What a turn of `--quick` takes of a whole one, roughly.
_QUICK = 0.75
#: Seconds for which a machine counts as what the estimates are for, until others speak.
_TRUST = 240.0

#: A turn: a group's and a stack's name.
Turn = tuple[str, str]


def turns(group: Group, stacks: Sequence[str], rounds: int) -> list[str]:
    """Return the stacks whose turn it is, in order, over all rounds."""
    return [name for _ in range(rounds) for name in stacks if name in group.stacks]


def of_turn(group: Group, stack: str, *, quick: bool) -> float:
    """Return the seconds of a turn."""
    seconds: float = getattr(group.cost, stack)
    return seconds * (_QUICK if quick else 1)


def of_group(group: Group, stacks: Sequence[str], rounds: int, *, quick: bool) -> float:
    """Return the seconds of a group."""
    return sum(of_turn(group, name, quick=quick) for name in turns(group, stacks, rounds))


def of_starts(groups: Sequence[Group], stacks: Iterable[str]) -> float:
    """Return the seconds that starts and stops take: once for each layout."""
    layouts = len({group.layout.name for group in groups})
    return layouts * sum(UP[name] + DOWN[name] for name in stacks)


class Clock:
    """Says how much is left.

    Parameters
    ----------
    total
        Seconds that everything is expected to take.
    """

    def __init__(self, total: float) -> None:
        self._left = total
        self._expected = self._took = 0.0

    def done(self, expected: float, took: float) -> None:
        """Note that a part is over, and how long it took."""
        self._left -= expected
        self._expected += expected
        self._took += took

    @property
    def left(self) -> float:
        """Seconds that are left, by how the parts so far compare with what was expected."""
        return max(0.0, self._left) * (self._took + _TRUST) / (self._expected + _TRUST)


def minutes(seconds: float) -> str:
    """Return a time as it is shown."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
