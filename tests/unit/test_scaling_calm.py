"""Hosts do not come and go with every tremble of the load."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scaling_loads import FLEET, LOOK, NOW, RULES, follow, hosts, of, queue_loads
from workers.scaling import Load, plan
from workers.scaling_demand import QueueLoad


@given(queue_loads, st.integers(1, 20))
def test_under_a_constant_load_it_moves_one_way_at_most(seen: QueueLoad, start: int) -> None:
    counts = follow([seen] * 60, start=start)
    moves = [after - before for before, after in pairwise(counts) if after != before]
    assert all(move > 0 for move in moves) or all(move < 0 for move in moves)
    assert len(moves) <= 1


@given(
    st.floats(0.1, 5),
    st.floats(0.5, 10),
    st.lists(st.floats(0.99, 1.01), min_size=100, max_size=100),
)
def test_a_load_that_trembles_does_not_move_hosts(
    rate: float, service: float, factors: list[float]
) -> None:
    steps = [
        QueueLoad(rate=rate * factor, recent=rate * factor, service=service) for factor in factors
    ]
    counts = follow(steps)
    moves = [after - before for before, after in pairwise(counts) if after != before]
    # out to what the highest of them needs; what is in the margin stays
    assert all(move > 0 for move in moves)


def test_it_waits_for_a_lull_before_it_takes_hosts_away() -> None:
    busy = QueueLoad(waiting=600, running=8, rate=1, recent=1, service=60.0)
    quiet = QueueLoad(service=60.0)
    looks = math.ceil(RULES.lull / LOOK)
    counts = follow([busy] + [quiet] * (looks + 2))
    high = counts[1]
    assert high > 1
    assert counts[looks] == high, "not before the lull is over"
    assert counts[-1] == 1


def test_after_a_pause_it_begins_to_watch_anew() -> None:
    load = Load(time=NOW, hosts=hosts("rest", 0, 0, 0))
    memory = plan(FLEET, load).memory
    much_later = replace(load, time=NOW + RULES.gap + RULES.lull + 1)
    assert of(plan(FLEET, much_later, memory), "rest").target == 3


def test_where_tasks_are_long_it_waits_as_long_as_a_drain_takes() -> None:
    urgent, rest = (FLEET.queues[name] for name in ("urgent", "rest"))
    assert RULES.lull_of(rest, None) == RULES.lull_of(rest, 10.0) == RULES.lull
    assert RULES.lull_of(rest, 400.0) == 1_200
    assert RULES.lull_of(rest, 20_000.0) == 3 * RULES.clear, "an outlier does not keep hosts"
    assert RULES.lull_of(urgent, 2.0) == RULES.lull_promised
