"""A scheduler's loop on a metadata database, with a clock and news that the test sets."""

from __future__ import annotations

import psycopg
import pytest

from airflow_config import queues
from airflow_config.scheduler_loop import SchedulerLoop
from tests.clock import Clock
from tests.integration.scheduler_loop.examinations import Told
from tests.metadata_database import insert_dag


@pytest.fixture
def writer(writer: psycopg.Connection) -> psycopg.Connection:
    for dag_id in ("onboarding", "rescore"):
        insert_dag(writer, dag_id)
    return writer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def loop(metadata_orm: None, told: Told, clock: Clock) -> SchedulerLoop:
    return SchedulerLoop(queues.load(), told, clock)  # type: ignore[arg-type]
