"""How many slots a queue's work needs, and in words what they are made of.

Work is counted, not tasks: a thousand tasks of a second need fewer slots than a hundred of ten
minutes. Where a task takes longer than there is time, it is a slot for each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from airflow_config.queue_entries import Queue
from workers.scaling_rules import RATE_WINDOW, RECENT_WINDOW, Rules


@dataclass(frozen=True, kw_only=True)
class QueueLoad:
    """What was seen of one queue.

    Parameters
    ----------
    waiting
        Tasks that a free slot could start: scheduled or queued, and not held back by a limit of
        their DAG. Under late binding most of the backlog is scheduled.
    running
        Tasks that run, on whichever class's hosts.
    lasting
        Of those, the ones that have run for longer than the queue's goal.
    oldest
        Seconds for which the longest waiting one waits.
    rate, recent
        Tasks per second that became ready in the last `RATE_WINDOW`, in the last `RECENT_WINDOW`.
    service
        Mean seconds that tasks ran that ended lately, each counted up to the queue's goal, so that
        a few long ones (see `lasting`) do not make all look long; None when none ended.
    """

    waiting: int = 0
    running: int = 0
    lasting: int = 0
    oldest: float = 0.0
    rate: float = 0.0
    recent: float = 0.0
    service: float | None = None


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Slots that are needed, and what for."""

    slots: float
    reasons: tuple[str, ...]


def demand(
    queue: Queue,
    seen: QueueLoad,
    rules: Rules,
    *,
    service: float | None,
    share: float = 1.0,
    guests: int = 0,
) -> Demand:
    """Return the slots that a worker class needs for its home queue.

    Parameters
    ----------
    queue, seen
        The home queue, and what was seen of it.
    rules
        What to go by.
    service
        Seconds that a task of it takes; None when none was ever seen to end.
    share
        Of the queue's work, that is this class's: less than 1 when another is at home there too.
    guests
        Tasks of other queues that run on the class's hosts.
    """
    waiting, lasting = seen.waiting * share, min(seen.lasting, seen.running) * share
    soon = waiting + seen.running * share - lasting
    reasons = []
    if guests:
        reasons.append(f"{guests} slots lent to other queues")
    if lasting:
        reasons.append(f"{lasting:.0f} slots held by tasks of over {rules.goal(queue):.0f} s")
    if service is None:
        if soon:
            reasons.append(f"{soon:.0f} wait or run; none was seen to end, so a slot for each")
        return Demand(slots=soon + lasting + guests, reasons=tuple(reasons))
    # where nothing is promised what comes may wait, and is counted then: several hundred tasks that
    # one DagRun brings at once are a backlog, not the beginning of a rise
    arrivals = (expected_arrivals(seen, rules) if queue.promise else seen.rate) * share
    # of tasks longer than a boot, those that come before a host asked for now is ready
    flow = arrivals * min(service, rules.boot)
    headroom = rules.headroom * math.sqrt(flow) if queue.promise else 0.0
    within = time_to_clear(queue, seen.oldest, rules)
    backlog = soon * min(1.0, service / within)
    if flow:
        rising = ", rising," if arrivals > seen.rate * share else ""
        reasons.append(f"{arrivals:.2f}/s{rising} x {service:.1f} s: {flow:.1f} slots")
    if headroom:
        reasons.append(f"headroom, because {queue.name} has a promise: {headroom:.1f} slots")
    if waiting:
        late = " (late)" if seen.oldest > rules.late(queue) else ""
        reasons.append(
            f"{waiting:.0f} wait, the oldest {seen.oldest:.0f} s{late}: {backlog:.1f} slots "
            f"clear that and what runs within {within:.0f} s"
        )
    return Demand(slots=flow + headroom + backlog + lasting + guests, reasons=tuple(reasons))


def time_to_clear(queue: Queue, oldest: float, rules: Rules) -> float:
    """Return the seconds in which what waits should be cleared; less, the longer it waits.

    While nothing is late not less than a boot: what the present hosts clear in that time is gone
    before a new one is ready.
    """
    goal = rules.goal(queue)
    if oldest > rules.late(queue):
        return goal * rules.late_share
    return max(rules.boot, goal - oldest)


def expected_arrivals(seen: QueueLoad, rules: Rules) -> float:
    """Return the tasks per second to expect when a host asked for now is ready.

    A rise goes on as it began, up to twice what comes now, if it is larger than chance makes it.
    A fall is believed only once the longer window has it.
    """
    rise = seen.recent - seen.rate
    chance = 2 * math.sqrt(rules.group * seen.rate * RECENT_WINDOW) + rules.group
    if rise * RECENT_WINDOW <= chance:
        return seen.rate
    between = (RATE_WINDOW - RECENT_WINDOW) / 2  # seconds between the middles of the windows
    ahead = rise * (RECENT_WINDOW / 2 + rules.boot) / between
    return min(seen.recent + ahead, 2 * seen.recent)
