"""The simulated fleet: no work is lost, and both sides see the same day."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from airflow_config import queues
from tests.benchmarks import scaling_simulation as simulation
from tests.benchmarks.scaling.scalers import Fixed, KedaRule, Planner
from tests.benchmarks.scaling.simulated_fleet import Pools, SimulatedFleet
from tests.benchmarks.scaling.traces import DAY, JUDGING, TUNING, Day, Fault, Job, Trace, trace

FLEET = queues.load()
#: Of a simulated day, enough for all that is done here.
HOURS = 5


def run(scaler, pools: Pools, *jobs: Job, faults: tuple[Fault, ...] = ()):
    day = Trace(Day("made", 1), tuple(sorted(jobs, key=lambda job: job.time)), faults)
    fleet = SimulatedFleet(FLEET, day, pools, scaler, length=HOURS * 3600)
    return fleet, fleet.run()


@dataclass
class Still:
    """Leaves the fleet as it is."""

    interval: float = 60.0
    grace: float | None = None

    def look(self, fleet: SimulatedFleet) -> None:
        pass


def test_days_for_tuning_are_not_those_for_judging() -> None:
    assert not set(TUNING) & set(JUDGING)
    # nor a seed of one shape under the name of another
    assert not {day.seed for day in TUNING} & {day.seed for day in JUDGING}
    assert {day.shape for day in JUDGING} > {day.shape for day in TUNING}


def test_a_day_is_the_same_for_everyone() -> None:
    # of the days for judging only how they are made is looked at
    for shape in sorted({day.shape for day in JUDGING}):
        first, second = trace(Day(shape, 7)), trace(Day(shape, 7))
        assert first == second
        assert first.jobs != trace(Day(shape, 8)).jobs
        assert {job.queue for job in first.jobs} == set(FLEET.queues)
        assert all(0 <= job.time < DAY for job in first.jobs)


@dataclass
class Onlooker(Still):
    """Notes in which order a host's tasks would be queued again if it were killed."""

    seen: list[list[float]] = field(default_factory=list)

    def look(self, fleet: SimulatedFleet) -> None:
        self.seen += [[task.start for task in host.tasks] for host in fleet.hosts]


def test_the_tasks_of_a_host_are_in_the_order_of_their_start() -> None:
    """Not of addresses in memory, or each process would simulate another day."""
    batch = [Job(7.0 * n, "batch", ((30.0 + n % 5 * 40,) * 3,)) for n in range(100)]
    onlooker = Onlooker()
    run(onlooker, simulation.LATE, *batch)
    assert max(map(len, onlooker.seen)) > 3
    assert all(starts == sorted(starts) for starts in onlooker.seen)


@pytest.mark.parametrize(
    ("scaler", "pools"),
    [
        (Planner, simulation.LATE),
        (KedaRule, simulation.STOCK),
        (Fixed, simulation.LATE),
    ],
)
def test_every_job_ends(scaler, pools: Pools) -> None:
    signups = [Job(n * 2.0, "onboarding", ((1.0,), (2.0, 2.0))) for n in range(200)]
    batch = [Job(60.0 * n, "batch", ((30.0,) * 50, (400.0,))) for n in range(20)]
    faults = (Fault(100.0, "onboarding"), Fault(1_000.0, "batch"))
    _, found = run(scaler(), pools, *signups, *batch, faults=faults)
    assert found.unfinished == 0
    assert found.signups == 200
    assert found.kept <= found.signups
    assert len(found.batch_waits) == 20 * 51 + found.killed


def test_a_task_waits_for_a_slot_and_not_longer() -> None:
    # one host of 8 slots: the ninth waits for the first to end
    _, found = run(Still(), simulation.STOCK, Job(0.0, "batch", ((10.0,) * 9,)))
    assert sorted(found.batch_waits) == [0.0] * 8 + [10.0]


def test_a_class_that_lends_takes_urgent_tasks_first() -> None:
    flood = Job(0.0, "batch", ((10.0,) * 100,))
    people = Job(1.0, "onboarding", ((20.0,) * 16,))
    _, lent = run(Still(), simulation.LATE, flood, people)
    _, alone = run(Still(), simulation.STOCK, flood, people)
    # 8 at home at once; the other 8 when batch tasks end at 10 s, or when the first end at 21 s
    assert lent.late_task == 0
    assert max(lent.batch_waits) > max(alone.batch_waits)


def test_a_shared_pool_holds_urgent_tasks_back_too() -> None:
    flood = Job(0.0, "batch", ((100.0,) * 10,))
    people = Job(1.0, "onboarding", ((1.0,),))
    shared = replace(simulation.STOCK, shared=10)
    _, found = run(Still(), shared, flood, people)
    assert found.late_task == 1, "all ten slots are taken for 100 s"


def test_under_late_binding_the_charts_rule_sees_no_more_than_there_is() -> None:
    fleet, _ = run(KedaRule(), simulation.LATE, Job(0.0, "batch", ((60.0,) * 500,)))
    most = max(counts["batch"] for _, counts in fleet.outcome.hosts)
    assert most == 1
    fleet, _ = run(Planner(), simulation.LATE, Job(0.0, "batch", ((60.0,) * 500,)))
    assert max(counts["batch"] for _, counts in fleet.outcome.hosts) > 1


def test_a_host_that_is_taken_away_in_mid_task_kills_it_only_with_a_grace() -> None:
    jobs = [
        Job(0.0, "batch", ((30.0,) * 120,)),
        Job(200.0, "batch", ((5_000.0,) * 9,)),
    ]
    _, theirs = run(KedaRule(), simulation.STOCK, *jobs)
    _, ours = run(Planner(), simulation.LATE, *jobs)
    assert ours.killed == 0
    assert theirs.killed > 0
    assert theirs.unfinished == 0


def test_hosts_cost_from_when_they_are_asked_for() -> None:
    _, found = run(Still(), simulation.STOCK)
    hours = sum(found.host_seconds.values()) / 3600
    assert hours == pytest.approx(HOURS * sum(w.hosts.min for w in FLEET.workers.values()))


@pytest.mark.parametrize(
    ("kept", "hours", "better"),
    [
        (0.97, 90, True),
        (0.96, 80, True),
        (0.96, 100, False),
        (0.97, 100.5, True),
        (0.97, 110, False),
        (0.95, 50, False),
    ],
)
def test_better_is_on_one_and_no_worse_on_the_other(kept, hours, better) -> None:
    theirs = {"kept": 0.96, "host_hours": 100.0}
    assert simulation.verdict({"kept": kept, "host_hours": hours}, theirs)[0] is better
