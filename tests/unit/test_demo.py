"""The demo's figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from airflow_config import queues
from airlane import demo
from airlane.demo import percentile
from deploy.local.stack import StackError

durations = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([1.0], 95, 1.0),
        ([2.0, 1.0], 50, 1.0),
        ([float(n) for n in range(1, 21)], 95, 19.0),
        ([float(n) for n in range(1, 21)], 50, 10.0),
        ([float(n) for n in range(1, 21)], 100, 20.0),
        ([float(n) for n in range(1, 21)], 0, 1.0),
    ],
)
def test_percentiles(values: list[float], percent: int, expected: float) -> None:
    assert percentile(values, percent) == expected


@given(durations, st.integers(1, 100))
def test_that_many_of_a_hundred_do_not_exceed_it(values: list[float], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    within = sum(value <= found for value in values)
    assert within * 100 >= percent * len(values)
    below = sum(value < found for value in values)
    assert below * 100 < percent * len(values)


@given(durations)
def test_more_percent_is_never_less(values: list[float]) -> None:
    assert percentile(values, 50) <= percentile(values, 95) <= percentile(values, 100)


@pytest.mark.parametrize(
    ("promise", "said"),
    [
        ("", "1 decisions: p50 1.0 s, p95 2.0 s."),
        (
            "promise: {end_to_end: 10s, task: 5s, gap: 3s}, task_timeout: 5s, ",
            "1 decisions: p50 1.0 s, p95 2.0 s. Promise (95 % within 10.0 s): kept.",
        ),
    ],
)
def test_the_result_names_the_promise_of_sign_ups_if_there_is_one(
    promise: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = promise or "task_timeout: 5s, "
    fleet = queues.read(f"""\
queues:
  people: {{priority: 9, {rest}retries: {{delay: 1s, max_delay: 2s}}}}
  rest: {{priority: 1, default: true, task_timeout: 2h}}
workers:
  people: {{home: people, concurrency: 1}}
  rest: {{home: rest, concurrency: 1}}
""")
    monkeypatch.setattr(queues, "load", lambda: fleet)
    demo._say_result(1.0, 2.0, 1)
    assert capsys.readouterr().out == f"{said}\n"


def test_a_reason_is_no_markup() -> None:
    row = {"entity_id": "7", "decision": "error", "reasons": ["fraud: [/x] of [red]"]}
    console = Console(width=120)
    with console.capture() as shown:
        console.print(demo._table({"e": row}))
    assert "fraud: [/x] of [red]" in shown.get()


def test_dags_that_do_not_come_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def dags(self) -> set[str]:
            return demo.NEEDED_DAGS - {demo.FLOOD_DAG}

        def import_errors(self) -> list[str]:
            return []

    monkeypatch.setattr(demo, "_PARSE_DEADLINE", -1)
    with pytest.raises(StackError, match=f"found no {demo.FLOOD_DAG}. Fix: "):
        demo._await_dags(Client())
