"""What tasks of `engine_dags` did, whatever Airflow says of them."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Effects:
    """What the flood's tasks did, whatever Airflow says of them."""

    file: Path

    def lines(self, run: str, what: str = "begin") -> list[dict[str, Any]]:
        """Return what tasks of a run said, in the order in which they did."""
        if not self.file.exists():
            return []
        found = [json.loads(line) for line in self.file.read_text().splitlines()]
        return [line for line in found if line["run"] == run and line["what"] == what]

    def below(self, run: str, worker: int) -> list[dict[str, Any]]:
        """Return what tasks of a worker said."""
        return [line for line in self.lines(run) if worker in line["parents"]]

    def expect_once(self, run: str, count: int, cut: Collection[tuple[int, int]] = ()) -> None:
        """Expect that each task of a run began once in each try, and ended well in its last.

        Parameters
        ----------
        run, count
            The run and how many tasks it has.
        cut
            Number and try of what a kill ended: maybe before it said that it began.
        """
        begun = [(line["number"], line["try"]) for line in self.lines(run)]
        assert len(begun) == len(set(begun)), "a try ran twice"
        assert {number for number, _ in begun} == set(range(count))
        last = {number: max(t for n, t in begun if n == number) for number in range(count)}
        ended = {(line["number"], line["try"]) for line in self.lines(run, "end")}
        assert set(last.items()) <= ended
        tries = {(number, t) for number in range(count) for t in range(1, last[number] + 1)}
        assert set(begun) <= tries
        assert tries - set(begun) <= set(cut), "a try never began"
        assert tries - set(last.items()) <= set(cut), "why was there another try?"
