"""What was kept of each promise, on a real metadata database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, task
from airflow.serialization.serialized_objects import DagSerialization
from sqlalchemy import Engine

from airflow_config import queues
from airlane import queue_history
from airlane.queue_history import Historian, Kept
from intake import ledger
from tests.app_database import AppDatabase
from tests.integration.task_book import Book

FLEET = queues.load()


@pytest.fixture
def book(writer: psycopg.Connection) -> Book:
    return Book(writer)


@pytest.fixture
def historian(metadata_url: str, app_db: AppDatabase) -> Iterator[Historian]:
    found = Historian(metadata_url, app_db.owner)
    yield found
    found.close()


def test_an_idle_stack_has_nothing_to_tell(historian: Historian) -> None:
    found = historian.look(FLEET)
    assert list(found) == list(FLEET.queues)
    urgent, batch = found["onboarding"], found["batch"]
    assert (urgent.oldest_s, urgent.arrivals_per_minute, urgent.running) == (None, 0, 0)
    assert (urgent.end_to_end, urgent.task, urgent.gap) == (Kept(0, 0),) * 3
    assert urgent.task is not None
    assert urgent.task.share is None
    assert (batch.end_to_end, batch.task, batch.gap) == (None, None, None)


def test_what_waits_and_runs_is_counted_with_its_oldest(book: Book, historian: Historian) -> None:
    book.add("a", "running", ready=9, start=8)
    book.add("b", "scheduled", ready=100)
    book.add("c", "queued", ready=200)
    book.add("d", "success", ready=400, start=390, end=380)
    for number in range(5):
        book.add(f"t{number}", "scheduled", queue="batch", ready=50 + number)
    found = historian.look(FLEET)
    urgent, batch = found["onboarding"], found["batch"]
    assert (urgent.scheduled, urgent.queued, urgent.running) == (1, 1, 1)
    assert urgent.oldest_s == pytest.approx(200, abs=60)
    assert (batch.scheduled, batch.queued, batch.running) == (5, 0, 0)
    assert batch.oldest_s == pytest.approx(54, abs=45)


def test_arrivals_and_completions_are_those_of_the_last_minutes(
    book: Book, historian: Historian
) -> None:
    for number in range(10):  # came and went
        book.add(f"t{number}", "success", run="now", ready=100, start=90, end=80)
    for number in range(5):  # came before, went now
        book.add(f"t{number}", "failed", run="late", ready=2000, start=90, end=80)
    for number in range(5):  # came now, wait
        book.add(f"t{number}", "scheduled", run="wait", ready=100)
    for number in range(3):  # long gone
        book.add(f"t{number}", "success", run="old", ready=2000, start=1900, end=1800)
    book.add("skipped", "skipped", run="now", ready=None)
    found = historian.look(FLEET)["onboarding"]
    assert found.arrivals_per_minute == pytest.approx(15 / 5)
    assert found.completions_per_minute == pytest.approx(15 / 5)


def test_a_task_in_time_is_one_that_ended_a_minute_after_it_was_ready(
    book: Book, historian: Historian
) -> None:
    book.add("a", "success", run="1", ready=1000, start=999, end=941)
    book.add("a", "success", run="2", ready=1000, start=999, end=939)
    book.add("a", "failed", run="3", ready=1000, start=999, end=990)
    book.add("a", "running", run="4", ready=1000, start=999)
    book.add("a", "success", run="5", ready=5000, start=4999, end=4990)
    assert historian.look(FLEET)["onboarding"].task == Kept(3, 2)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_gap_is_from_the_end_of_the_last_upstream_task(
    writer: psycopg.Connection, historian: Historian, compressed: bool
) -> None:
    book = Book(writer, compressed=compressed)
    # c begins 1 s after b, which ends long after a; d 4 s after c
    book.add("a", "success", ready=1000, start=1000, end=900)
    book.add("b", "success", ready=1000, start=1000, end=800)
    book.add("c", "success", ready=800, start=799, end=700)
    book.add("d", "success", ready=699, start=696, end=690)
    assert historian.look(FLEET)["onboarding"].gap == Kept(2, 1)
    # again, with what it knows of the DAG by now; another run's tasks are not upstream
    book.add("a", "success", run="2", ready=1000, start=1000, end=600)
    assert historian.look(FLEET)["onboarding"].gap == Kept(2, 1)
    # one whose upstream task was skipped has none
    book.add("c", "skipped", run="3", ready=None)
    book.add("d", "success", run="3", ready=699, start=600, end=590)
    assert historian.look(FLEET)["onboarding"].gap == Kept(2, 1)


def test_sign_ups_in_time_are_those_of_the_ledger(
    historian: Historian, worker_engine: Engine
) -> None:
    now = datetime.now(UTC)

    def decide(event: str, decision: Any, took: float, ago: float = 60) -> None:
        at = now - timedelta(seconds=ago)
        score, model = (None, None) if decision == "error" else (0.1, "risk-1")
        ledger.record(
            worker_engine,
            ledger.Decision(
                event_id=event,
                entity_id="7",
                decision=decision,
                score=score,
                reasons=[],
                model_version=model,
                signed_up_at=at - timedelta(seconds=took),
                run_id=f"signup-{event}",
                decided_at=at,
            ),
        )

    decide("fast", "approve", 1)
    decide("slow", "decline", 200)
    decide("failed", "error", 1)
    decide("before", "approve", 1, ago=4000)
    assert historian.look(FLEET)["onboarding"].end_to_end == Kept(3, 1)


def test_the_edges_are_those_that_airflow_writes() -> None:
    with DAG("d", schedule=None) as dag, TaskGroup("g"):
        first = EmptyOperator(task_id="first")

        @task
        def each(number: int) -> int:
            return number

        first >> each.expand(number=[1, 2]) >> EmptyOperator(task_id="last")
    found = queue_history.edges(DagSerialization.to_dict(dag))
    assert set(found) == {("g.each", "g.first"), ("g.last", "g.each")}
