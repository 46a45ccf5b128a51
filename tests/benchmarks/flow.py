"""When a flood flows: its pace is what it will be, so that it can be compared with another's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

from tests.benchmarks import work
from tests.benchmarks.errors import TooLateError
from tests.benchmarks.stack import Stack, await_true

#: Seconds until a flood that has not become steady is measured all the same.
DEADLINE = 150
#: Windows that are compared, and how far from their mean the pace of each may be.
_WINDOW, _WINDOWS, _APART = 4.0, 3, 0.3
#: Seconds between two looks.
_LOOK = 1.0

_MADE = """
    SELECT count(*) FROM task_instance ti JOIN dag_run r USING (dag_id, run_id)
    WHERE dag_id = %s AND task_id = 'work' AND r.queued_at >= to_timestamp(%s)
"""


def is_steady(rates: Sequence[float]) -> bool:
    """Say whether paces one after the other are about the same, and not of nothing."""
    mean = sum(rates) / len(rates)
    return mean > 0 and all(abs(rate - mean) <= _APART * mean for rate in rates)


def await_steady(stack: Stack, dag_id: str, since: float, tasks: int, seconds: float) -> list[str]:
    """Await that a flood flows: all its tasks are made, and the last windows had the same pace.

    After its start, for a while, its runs are examined and its tasks are made: the slots are half
    empty then, and a pace that is measured says nothing of the flood.

    Parameters
    ----------
    stack, dag_id
        Whose flood.
    since
        When its first run was asked for.
    tasks
        That it has.
    seconds
        How long each of them is meant to take.

    Returns
    -------
    list
        A note for the reader when it did not become steady; it is measured all the same.
    """
    begin = time.time()

    def made() -> int:
        return stack.metadata.number(_MADE, (dag_id, since))

    def flows() -> bool:
        now = time.time()
        if now - begin < _WINDOW * _WINDOWS or made() < tasks:
            return False
        edges = [now - _WINDOW * place for place in range(_WINDOWS, -1, -1)]
        return is_steady([work.rate(stack, [dag_id], *ends, seconds) for ends in pairwise(edges)])

    try:
        await_true(flows, DEADLINE, f"{stack.name}'s flood to flow", _LOOK)
    except TooLateError:
        return [f"the flood's pace was not steady after {DEADLINE} s"]
    return []
