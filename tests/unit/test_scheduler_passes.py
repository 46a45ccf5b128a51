"""When a loop of the scheduler repeats its pass, and when the rest of the loop comes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.utils.state import TaskInstanceState

from airflow_config import scheduler_passes as module
from tests.clock import Clock


class Session:
    """Keeps what is asked of a session."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.info: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return lambda: self.asked.append(name)


class Executor:
    def __init__(self) -> None:
        self.beats = 0
        self.event_buffer: dict[Any, Any] = {}

    def heartbeat(self) -> None:
        self.beats += 1


@pytest.fixture
def executor() -> Executor:
    return Executor()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def loop(
    executor: Executor,
    clock: Clock,
    queued: list[int | None],
    num_runs: int = -1,
    took: float = 0.1,
) -> tuple[int, Session, list[int | None]]:
    """One loop whose passes queue so many; returns what it queued and what was left to do."""
    session: Any = Session()
    left = list(queued)

    def schedule(seconds: float) -> int | None:
        assert seconds > 0 or clock.now >= 1000
        clock.now += took
        return left.pop(0)

    runner = SimpleNamespace(executors=[executor], num_runs=num_runs)
    return module.repeat(runner, session, schedule, clock), session, left


def test_passes_go_on_while_there_are_changes_and_each_is_sent(
    executor: Executor, clock: Clock
) -> None:
    found, session, left = loop(executor, clock, [2, 0, 3, None])
    assert (found, left, executor.beats) == (5, [], 3)
    assert session.asked == ["expunge_all", "commit", "close"] * 3


def test_the_rest_of_the_loop_comes_though_changes_go_on(executor: Executor, clock: Clock) -> None:
    took = module.REST / 2
    found, _, left = loop(executor, clock, [1] * 9, took=took)
    assert (found, len(left), executor.beats) == (2, 7, 1)


@pytest.mark.parametrize("state", [TaskInstanceState.FAILED, TaskInstanceState.RUNNING])
def test_a_failure_that_the_executor_tells_of_is_looked_at_at_once(
    executor: Executor, clock: Clock, state: TaskInstanceState
) -> None:
    executor.event_buffer["key"] = (state, None)
    assert loop(executor, clock, [1, 1, None])[2] == [1, None]


def test_successes_wait_for_the_rest(executor: Executor, clock: Clock) -> None:
    executor.event_buffer["key"] = (TaskInstanceState.SUCCESS, None)
    assert loop(executor, clock, [1, 1, None])[2] == []


def test_a_given_number_of_loops_is_airflows(executor: Executor, clock: Clock) -> None:
    assert loop(executor, clock, [1, 1, None], num_runs=3)[2] == [1, None]


def test_a_pass_asks_once_for_each_dags_newest_version() -> None:
    asked: list[str] = []
    versions: dict[str, Any] = {"a": object(), "b": object(), "gone": None}

    def stock(dag_id: str, **_: Any) -> Any:
        asked.append(dag_id)
        return versions[dag_id]

    owner: Any = type("Owner", (), {"newest": module.newest_version(stock)})
    session: Any = Session()
    for _ in range(2):
        assert owner.newest("a", session=session) is versions["a"]
    assert asked == ["a", "a"], "outside of a pass, each time"
    asked.clear()
    module.remember_versions(session)
    for dag_id in ("a", "b", "a", "gone", "gone"):
        assert owner.newest(dag_id=dag_id, session=session) is versions[dag_id]
    assert asked == ["a", "b", "gone", "gone"], "what is not there yet may come"
    owner.newest("a", session=session, load_dag_model=True)
    assert asked[-1] == "a"
    module.forget_versions(session)
    owner.newest("a")
    module.remember_versions(session)
    owner.newest("a", session=session)
    assert asked[-2:] == ["a", "a"]
