"""What the planner of hosts goes by, and what that makes of a queue's promise."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_config.queue_entries import Queue

#: Seconds that rates of arrival are counted over; a minute is the shortest in which groups of
#: tasks look like a rate.
RATE_WINDOW, RECENT_WINDOW = 300.0, 60.0


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the planner goes by, for all classes; times in seconds.

    Parameters
    ----------
    boot
        From asking for a host to its first task.
    headroom
        Square root staffing: slots above the load `a` = this x sqrt(a). With 2, about one task in
        25 finds no free slot when tasks come at random (Halfin and Whitt 1981).
    clear
        Goal of a queue without a promise: from a task being ready to its start.
    late_share
        Share of a queue's goal within which a late backlog is to be cleared.
    lull_promised, lull
        For how long fewer hosts must have been enough before any is taken away.
    drains
        Means of a task's duration for which fewer must have been enough, too: about as long as a
        host drains, paid for and of no use. The longest of eight tasks is 2.7 means, when
        durations are exponential.
    margin
        Share of a host that stays free when hosts are taken away.
    group
        Tasks that come together, such as those of one DagRun: a rise of arrivals counts when it
        is larger than chance makes it with groups of this size.
    stuck
        For how long a host with free slots has to leave waiting tasks alone to be called stuck.
    patience
        Boots after which a host that was asked for will not come any more.
    gap
        A pause between two looks after which watching for a lull begins anew.
    """

    boot: float = 90.0
    headroom: float = 2.0
    clear: float = 1_800.0
    late_share: float = 0.25
    lull_promised: float = 600.0
    lull: float = 240.0
    drains: float = 3.0
    margin: float = 0.25
    group: float = 10.0
    stuck: float = 60.0
    patience: float = 3.0
    gap: float = 300.0

    def goal(self, queue: Queue) -> float:
        """Return the seconds that a task of the queue may wait, or need, at most."""
        if queue.promise:
            return queue.promise.task.total_seconds()
        return min(queue.task_timeout.total_seconds(), self.clear)

    def late(self, queue: Queue) -> float:
        """Return the seconds of waiting from which on a task of the queue is late."""
        if queue.promise:
            return min(queue.promise.gap.total_seconds(), self.goal(queue) / 2)
        return self.goal(queue) / 2

    def lull_of(self, queue: Queue, service: float | None) -> float:
        """Return the seconds for which fewer hosts must have been enough.

        Parameters
        ----------
        queue
            The class's home.
        service
            Seconds that a task of it takes; None when that is not known.
        """
        lull = self.lull_promised if queue.promise else self.lull
        return max(lull, self.drains * min(service or 0.0, self.goal(queue)))
