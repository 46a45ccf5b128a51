"""Which runs a loop examines: urgent ones at once, batch in turn, none forgotten."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_config import agenda as rules
from airflow_config.agenda import Agenda, Profile, Run
from airflow_config.wakeup import Change
from tests.clock import Clock

BATCH = 1
URGENT_RUN, BATCH_RUN = ("onboarding", "a"), ("rescore", "b")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def agenda(clock: Clock) -> Agenda:
    agenda = Agenda(BATCH, clock)
    agenda.learn({URGENT_RUN: Profile(100, 9), BATCH_RUN: Profile(BATCH, 200)})
    return agenda


def task(run: Run) -> Change:
    return Change("task", *run)


def step(agenda: Agenda, limit: int = 20, due: Collection[rules.Work] = ()) -> list[Run]:
    """One loop in which every changed run is running."""
    agenda.begin(due)
    chosen = agenda.choose(agenda.changed(200), limit)
    agenda.drop(chosen)
    return chosen


def test_with_nothing_changed_the_scheduler_waits(agenda: Agenda) -> None:
    assert agenda.patience() == rules.IDLE
    assert step(agenda) == []


def test_an_urgent_change_is_examined_at_once_even_right_after_a_batch_pass(
    agenda: Agenda, clock: Clock
) -> None:
    agenda.passed(took=5)
    agenda.note([task(BATCH_RUN), task(URGENT_RUN)])
    assert agenda.patience() == 0
    assert step(agenda) == [URGENT_RUN]
    assert agenda.patience() > 0
    clock.now += 60
    assert agenda.patience() == 0
    assert step(agenda) == [BATCH_RUN]
    assert agenda.patience() == rules.IDLE


def test_batch_rests_longer_while_an_urgent_run_is_on_its_way(agenda: Agenda, clock: Clock) -> None:
    def rest() -> int:
        """Return the hundredths of a second until batch has its turn."""
        agenda.passed(took=0.3)
        agenda.note([task(BATCH_RUN)])
        for waited in range(1000):
            if step(agenda) == [BATCH_RUN]:
                return waited
            clock.now += 0.01
        pytest.fail("batch never had its turn")

    before = rest()
    agenda.note([task(URGENT_RUN)])
    step(agenda)
    assert rest() > 2 * before


def test_a_run_that_is_not_known_counts_as_urgent_until_it_is(agenda: Agenda) -> None:
    agenda.passed(took=5)
    agenda.note([task(("new", "x"))])
    assert agenda.patience() == 0
    assert agenda.unknown([("new", "x"), URGENT_RUN]) == [("new", "x")]
    agenda.learn({("new", "x"): Profile(BATCH, 1)})
    assert agenda.patience() > 0
    assert step(agenda) == []


def test_higher_bands_go_first_and_more_than_the_limit_come_at_once_after(agenda: Agenda) -> None:
    runs = [("d", str(number)) for number in range(30)]
    agenda.learn({run: Profile(50 + number, 1) for number, run in enumerate(runs)})
    agenda.note(task(run) for run in runs)
    first = step(agenda)
    assert first == runs[:9:-1]
    assert agenda.patience() == 0
    assert step(agenda) == runs[9::-1]
    assert agenda.patience() == rules.IDLE


def test_large_batch_runs_share_passes_but_one_is_always_taken(agenda: Agenda) -> None:
    large = [("big", str(number)) for number in range(3)]
    agenda.learn(dict.fromkeys(large, Profile(BATCH, rules.BATCH_SIZE * 3)))
    agenda.note(task(run) for run in large)
    assert step(agenda) == large[:1]
    assert step(agenda) == large[1:2]


def test_a_locked_run_is_tried_again_without_spinning(agenda: Agenda, clock: Clock) -> None:
    agenda.note([task(URGENT_RUN)])
    assert step(agenda) == [URGENT_RUN]
    agenda.locked([URGENT_RUN])
    assert step(agenda) == []
    assert 0 < agenda.patience() <= rules.LOCKED_RETRY
    clock.now += rules.LOCKED_RETRY
    assert agenda.patience() == 0
    assert step(agenda) == [URGENT_RUN]


def test_a_new_run_is_looked_for_at_once(agenda: Agenda) -> None:
    agenda.passed(took=5)
    agenda.note([Change("run", *BATCH_RUN)])
    assert agenda.patience() == 0
    assert list(agenda.new_runs) == [BATCH_RUN]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("change"), st.integers(0, 9)),
            st.tuples(st.just("loop"), st.integers(0, 30)),
        ),
        max_size=80,
    )
)
def test_every_change_is_followed_by_an_examination(events: list[tuple[str, int]]) -> None:
    clock = Clock()
    agenda = Agenda(BATCH, clock)
    runs = [("d", str(number)) for number in range(10)]
    agenda.learn({run: Profile(100 if n % 2 else BATCH, n * 90) for n, run in enumerate(runs)})
    owed: set[Run] = set()
    for kind, number in events:
        if kind == "change":
            agenda.note([task(runs[number])])
            owed.add(runs[number])
        else:
            clock.now += number / 10
            chosen = step(agenda, limit=3)
            # no batch run is chosen while an urgent one that waits is not
            left = {run for run in owed if agenda.is_urgent(run)} - set(chosen)
            assert not left or all(agenda.is_urgent(run) for run in chosen)
            owed -= set(chosen)
            agenda.passed(took=number / 100)
    for _ in range(40):
        clock.now += agenda.patience() + 0.001
        owed -= set(step(agenda, limit=3))
    assert not owed


def test_batch_gets_its_pass_though_urgent_work_never_ends(agenda: Agenda, clock: Clock) -> None:
    agenda.passed(took=0)
    agenda.note([task(BATCH_RUN)])
    passes = 0
    for _ in range(100):
        clock.now += 0.05
        agenda.note([task(URGENT_RUN)])
        chosen = step(agenda)
        assert chosen[0] == URGENT_RUN
        if BATCH_RUN in chosen:
            passes += 1
            agenda.passed(took=0)
            agenda.note([task(BATCH_RUN)])
    assert passes >= 5


def works(agenda: Agenda) -> set[rules.Work]:
    """Return what this loop does for batch."""
    return {work for work in rules.WORKS if agenda.does(work)}


def test_a_batch_pass_does_all_of_it_when_nothing_is_urgent(agenda: Agenda) -> None:
    agenda.note([task(BATCH_RUN)])
    assert step(agenda, due=["create", "start"]) == [BATCH_RUN]
    assert works(agenda) == set(rules.WORKS)


def test_batch_work_takes_turns_while_an_urgent_run_is_on_its_way(
    agenda: Agenda, clock: Clock
) -> None:
    agenda.note([task(URGENT_RUN)])
    assert step(agenda) == [URGENT_RUN]
    agenda.note([task(BATCH_RUN)])
    seen = []
    for _ in range(6):
        clock.now += rules.GATHER
        found = step(agenda, due=["create", "start"])
        (work,) = works(agenda)
        assert (BATCH_RUN in found) == (work == "examine")
        seen.append(work)
        agenda.passed(took=0)
        agenda.note([task(BATCH_RUN)])
    assert seen == [*rules.WORKS, *rules.WORKS]


def test_a_turn_is_for_work_that_is_due_or_left(agenda: Agenda, clock: Clock) -> None:
    agenda.note([task(URGENT_RUN), task(BATCH_RUN)])
    step(agenda)
    turns: list[tuple[list[rules.Work], rules.Work | None, rules.Work]] = [
        (["create"], None, "create"),
        ([], None, "examine"),
        ([], "start", "start"),
        (["start"], None, "examine"),
    ]
    for due, left, work in turns:
        if left is not None:
            agenda.leave(left)
        clock.now += rules.YIELD
        agenda.note([task(BATCH_RUN)])
        step(agenda, due=due)
        assert works(agenda) == {work}
        agenda.passed(took=0)


def test_what_is_left_is_gone_on_with_without_being_told(agenda: Agenda, clock: Clock) -> None:
    agenda.passed(took=0)
    agenda.leave("create")
    assert 0 < agenda.patience() < rules.IDLE
    clock.now += 2 * rules.GATHER
    assert agenda.patience() == 0
    step(agenda)
    assert agenda.does("create")
    assert agenda.patience() == rules.IDLE


def test_few_batch_runs_share_a_pass_while_an_urgent_run_is_on_its_way(
    agenda: Agenda, clock: Clock
) -> None:
    many = [("small", str(number)) for number in range(30)]
    agenda.learn(dict.fromkeys(many, Profile(BATCH, 1)))
    agenda.note(task(run) for run in many)
    assert step(agenda) == many[:20]
    agenda.note([task(URGENT_RUN)])
    step(agenda)
    agenda.passed(took=0)
    clock.now += rules.YIELD
    assert step(agenda) == many[20 : 20 + rules.PRESSED["examine"]]


def test_what_is_looked_at_from_time_to_time_is_not_on_its_way(agenda: Agenda) -> None:
    agenda.begin()
    assert agenda.choose([URGENT_RUN], 20) == [URGENT_RUN]
    assert not agenda.pressed()
    agenda.note([task(URGENT_RUN)])
    assert step(agenda) == [URGENT_RUN]
    assert agenda.pressed()


def test_more_is_allowed_the_longer_work_is_left_over(agenda: Agenda, clock: Clock) -> None:
    def allowed() -> int:
        """Return what is allowed while an urgent run is on its way."""
        agenda.note([task(URGENT_RUN)])
        return agenda.allowance("create", 10)

    few = rules.PRESSED["create"]
    assert allowed() == few
    found = []
    for _ in range(200):
        agenda.leave("create")
        found.append(allowed())
        clock.now += rules.GROW / 50
    assert found == sorted(found)
    assert (found[0], found[-1]) == (few, 10)
    clock.now += 2 * rules.IDLE
    assert allowed() == few


def test_many_batch_changes_are_kept_up_with(agenda: Agenda, clock: Clock) -> None:
    many = [("small", str(number)) for number in range(500)]
    agenda.learn(dict.fromkeys(many, Profile(BATCH, 1)))
    agenda.note(task(run) for run in many)
    taken = []
    for _ in range(100):
        agenda.note([task(URGENT_RUN)])
        taken.append(len([run for run in step(agenda) if run != URGENT_RUN]))
        if agenda.batch_pass:
            agenda.passed(took=0)
        clock.now += rules.YIELD
    assert sum(taken) == len(many)
    assert max(taken) > rules.PRESSED["examine"]


def test_a_lock_that_somebody_else_holds_is_tried_again_soon(agenda: Agenda, clock: Clock) -> None:
    agenda.retry()
    assert 0 < agenda.patience() <= rules.LOCKED_RETRY
    clock.now += rules.LOCKED_RETRY
    assert agenda.patience() == 0
    step(agenda)
    assert agenda.patience() == rules.IDLE
