"""Which DagRuns the scheduler's next loop examines, and when: urgent ones at once, batch in turn.

Airflow gives DagRuns no priority: each loop examines the 20 that it has not seen for the longest
time, and reads all task instances of each. So urgent runs wait for batch runs in which nothing
happened. Here a run is examined because something changed in it. An urgent change is looked at
at once. Batch changes are gathered and get a share of the scheduler's time, the rest of it being
free for what is urgent.

Only bookkeeping: no database and no Airflow, so that its rules can be tested by themselves.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from airflow_config.wakeup import Change

#: (dag_id, run_id)
Run = tuple[str, str]
#: What a batch pass does: create runs that are due, start queued ones, examine running ones and
#: queue their tasks. In this order.
Work = Literal["create", "start", "examine"]
WORKS: tuple[Work, ...] = ("create", "start", "examine")

#: Seconds that the scheduler waits at most when nothing is to be done: the limit of how late a
#: time comes true that nobody tells (a retry's delay, a schedule's date).
IDLE = 1.0
#: Seconds between two batch passes, at least: changes of many batch tasks are one pass.
GATHER = 0.1
#: A batch pass that took t seconds is followed by this many times t without one: while urgent
#: runs are on their way, and when none is.
URGENT_REST, BATCH_REST = 1.5, 0.5
#: Seconds that batch waits at most for a moment in which nothing urgent is to be done.
YIELD = 0.5
#: Batch runs that a pass creates or examines at most while an urgent run is on its way: to create
#: one takes 10 ms of the processor, to examine a small one 5 ms.
PRESSED: dict[Work, int] = {"create": 3, "examine": 5}
#: Seconds after which as many more are allowed, once more and again, while work is left over. Short
#: passes get through the 200 jobs that start with a minute, too.
GROW = 10.0
#: Seconds after its last sign for which an urgent run counts as on its way.
URGENT_ACTIVE = 10.0
#: Task instances that the batch runs of one pass may have together; one run is always taken.
BATCH_SIZE = 400
#: Seconds after which a batch run is looked up again: mapped tasks are made while it runs.
STALE = 5.0
#: Task instances from which on a run is looked at before it is examined.
LARGE = 25
#: Seconds before a run that another scheduler or a request held locked is tried again.
LOCKED_RETRY = 0.05
#: Runs remembered; beyond that, those not seen for the longest time are looked up again.
_REMEMBERED = 20_000


@dataclass(frozen=True)
class Profile:
    """What is known of a run: the band of its most urgent task, and how many tasks it has."""

    band: int
    size: int


class Agenda:
    """The changed runs.

    Parameters
    ----------
    batch_band
        Priority of the default queue; runs above it are urgent.
    clock
        Gives seconds; for tests.
    """

    def __init__(self, batch_band: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._batch_band = batch_band
        self._clock = clock
        self._profiles: OrderedDict[Run, Profile] = OrderedDict()
        self._learnt: dict[Run, float] = {}
        self._changed: dict[Run, None] = {}
        self._retry_at: dict[Run, float] = {}
        self._batch_due = clock()
        self._batch_since: float | None = None
        self._urgent_seen = float("-inf")
        #: What this pass does for batch, and what the last one that took its turn did.
        self._share: frozenset[Work] = frozenset(WORKS)
        self._turn: Work = "examine"
        #: Work of which more is known to be left than a pass did.
        self._left: set[Work] = set()
        #: Since when some is left over again and again, and when it last was.
        self._behind: dict[Work, tuple[float, float]] = {}
        self._retry_all_at: float | None = None
        #: This pass leaves other work for batch that it is time for.
        self._partial = False
        self._examined_at = float("-inf")
        #: Runs were created or cleared: look for queued ones.
        self.new_runs: dict[Run, None] = {}
        #: This loop may do something for batch work.
        self.batch_pass = True
        #: More is known to be left than the last loop took.
        self.unfinished = False

    def note(self, changes: Iterable[Change]) -> None:
        """Take over what the database told."""
        for change in changes:
            run = (change.dag_id, change.run_id)
            if change.kind == "run":
                self.new_runs[run] = None
            if change.run_id:
                self.touch(run)

    def touch(self, run: Run) -> None:
        """Put a run on the agenda."""
        self._changed[run] = None
        # One that is not known yet may turn out to be batch: `choose` knows.
        if run in self._profiles and self.is_urgent(run):
            self._urgent_seen = self._clock()

    def is_urgent(self, run: Run) -> bool:
        """Tell whether a run goes first; so does one that is not known yet, until it is."""
        profile = self._profiles.get(run)
        return profile is None or profile.band > self._batch_band

    def size(self, run: Run) -> int:
        """Return how many tasks a run has; 0 while it is not known."""
        profile = self._profiles.get(run)
        return profile.size if profile else 0

    def is_large(self, run: Run) -> bool:
        """Tell whether a batch run has so many tasks that examining it in vain costs."""
        return not self.is_urgent(run) and self.size(run) >= LARGE

    def band(self, run: Run) -> int:
        """Return the band of a run; 0 while it is not known."""
        profile = self._profiles.get(run)
        return profile.band if profile else 0

    def patience(self) -> float:
        """Return how many seconds the scheduler may wait for a change."""
        now = self._clock()
        if self.unfinished or self.new_runs:
            return 0.0
        wait = IDLE
        for run in self._changed:
            due = self._retry_at.get(run, now) if self.is_urgent(run) else self._batch_due
            wait = min(wait, due - now)
        if self._left:
            wait = min(wait, self._batch_due - now)
        if self._retry_all_at is not None:
            wait = min(wait, self._retry_all_at - now)
        return max(0.0, wait)

    def unknown(self, runs: Iterable[Run]) -> list[Run]:
        """Return those whose profile must be looked up."""
        stale = self._clock() - STALE
        return [
            run
            for run in runs
            if run not in self._profiles or (not self.is_urgent(run) and self._learnt[run] <= stale)
        ]

    def learn(self, profiles: Mapping[Run, Profile]) -> None:
        """Remember profiles."""
        self._profiles.update(profiles)
        self._learnt.update(dict.fromkeys(profiles, self._clock()))
        while len(self._profiles) > _REMEMBERED:
            run, _ = self._profiles.popitem(last=False)
            del self._learnt[run]

    def begin(self, due: Collection[Work] = ()) -> None:
        """Begin a loop, and decide what it does for batch.

        Tasks are sent at the end of a loop, so what is urgent goes by itself as long as batch
        has not waited for too long. While an urgent run is on its way, a batch pass does one kind
        of work only, each in turn: the urgent change that comes meanwhile waits for its end.

        Parameters
        ----------
        due
            Work for which it is time, besides the runs on the agenda.
        """
        now = self._clock()
        if self._retry_all_at is not None and self._retry_all_at <= now:
            self._retry_all_at = None
        urgent, batch = self._free()
        if len(batch) > PRESSED["examine"]:
            self._fall_behind("examine")
        if (batch or self._left) and self._batch_since is None:
            self._batch_since = now
        rested = now - self._batch_due
        # Schedules and queued runs are looked at in batch passes too, though nobody tells.
        overdue = rested >= 2 * IDLE or (
            self._batch_since is not None and now - self._batch_since >= YIELD
        )
        self.batch_pass = rested >= 0 and (overdue or not (self.new_runs or urgent))
        if not self.batch_pass:
            return
        if not self.pressed():
            self._share = frozenset(WORKS)
            self._partial = False
        else:
            wanted = {*due, *self._left}
            if batch or now - self._examined_at >= IDLE:
                wanted.add("examine")
            at = WORKS.index(self._turn) + 1
            self._turn = next((w for w in (*WORKS[at:], *WORKS[:at]) if w in wanted), "examine")
            self._share = frozenset({self._turn})
            self._partial = bool(wanted - self._share)
        self._left -= self._share
        if "examine" in self._share:
            self._examined_at = now

    def does(self, work: Work) -> bool:
        """Tell whether this loop does this for batch."""
        return self.batch_pass and work in self._share

    def leave(self, work: Work) -> None:
        """Have the next batch pass but those for other work go on with this."""
        self._left.add(work)
        self._fall_behind(work)

    def _fall_behind(self, work: Work) -> None:
        now = self._clock()
        since, last = self._behind.get(work, (now, now))
        self._behind[work] = (since if now - last <= IDLE else now, now)

    def allowance(self, work: Work, usual: int) -> int:
        """Return how many batch runs this loop may create or examine.

        While an urgent run is on its way, few; more the longer work is left over, so that batch
        work keeps up with what comes.
        """
        if not self.pressed() or work not in PRESSED:
            return usual
        since, last = self._behind.get(work, (0.0, 0.0))
        behind = last - since if self._clock() - last <= IDLE else 0.0
        return min(usual, PRESSED[work] * (1 + int(behind / GROW)))

    def retry(self) -> None:
        """Have another loop soon: what could be queued could not, for somebody else's lock."""
        self._retry_all_at = self._clock() + LOCKED_RETRY

    def pressed(self) -> bool:
        """Tell whether an urgent run is on its way."""
        return self._clock() - self._urgent_seen < URGENT_ACTIVE

    def changed(self, limit: int) -> list[Run]:
        """Return runs on the agenda that may be looked at now, urgent ones first."""
        urgent, batch = self._free()
        if not self.does("examine"):
            batch = []
        # Looking them up costs too; some of them will have ended, or have nothing to schedule.
        return [*urgent, *batch[: 4 * self.allowance("examine", limit)]][:limit]

    def _free(self) -> tuple[list[Run], list[Run]]:
        """Return the urgent and the batch runs on the agenda that nobody else is known to hold."""
        now = self._clock()
        urgent: list[Run] = []
        batch: list[Run] = []
        for run in self._changed:
            if self._retry_at.get(run, now) <= now:
                (urgent if self.is_urgent(run) else batch).append(run)
        return urgent, batch

    def choose(self, candidates: Iterable[Run], limit: int) -> list[Run]:
        """Return which of these runs to examine now, most urgent first.

        Parameters
        ----------
        candidates
            Runs with a known profile, in the order in which they came.
        limit
            Runs at most.
        """
        urgent: list[Run] = []
        batch: list[Run] = []
        for run in candidates:
            (urgent if self.is_urgent(run) else batch).append(run)
        urgent.sort(key=lambda run: -self.band(run))
        # One that is only looked at from time to time (a listener that waits) is on no way.
        if any(run in self._changed for run in urgent):
            self._urgent_seen = self._clock()
        chosen = urgent[:limit]
        self.unfinished = len(urgent) > limit
        if self.does("examine"):
            size = 0
            for run in batch[: self.allowance("examine", limit)]:
                size += max(1, self.size(run))
                if len(chosen) >= limit or (size > BATCH_SIZE and chosen[len(urgent) :]):
                    break
                chosen.append(run)
        return chosen

    def keep(self, runs: Iterable[Run]) -> None:
        """Leave runs on the agenda for a later loop, without hurry."""
        for run in runs:
            self._changed[run] = None

    def drop(self, runs: Iterable[Run]) -> None:
        """Take runs off the agenda: examined now, or no longer running."""
        for run in runs:
            self._changed.pop(run, None)
            self._retry_at.pop(run, None)

    def locked(self, runs: Iterable[Run]) -> None:
        """Keep runs that somebody else holds, for the next loop but one."""
        for run in runs:
            self._changed[run] = None
            self._retry_at[run] = self._clock() + LOCKED_RETRY

    def passed(self, took: float) -> None:
        """A loop that did something for batch took this many seconds: rest from batch."""
        if not self._partial:
            self._batch_since = None
        rest = URGENT_REST if self.pressed() else BATCH_REST
        self._batch_due = self._clock() + max(GATHER, rest * took)
