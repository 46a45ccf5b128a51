"""Ledger, applicants and the schema on a real PostgreSQL."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from airflow_config.place import ROOT
from intake import applicants, database, ledger
from intake.ledger import Decision
from intake.tables import Base
from tests.app_database import AppDatabase
from tests.servers import PostgresServer

CSV = ROOT / "data" / "german_credit.csv"
VERSIONS = ROOT / "intake" / "migrations" / "versions"
DECISION = Decision(
    event_id="e1",
    entity_id="7",
    decision="approve",
    score=0.125,
    reasons=["has savings"],
    model_version="v1",
    signed_up_at=datetime.now(UTC) - timedelta(seconds=3),
    run_id="signup-e1",
)


def outbox(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT event_id FROM outbox ORDER BY id")))


def test_the_migrations_make_the_tables_of_the_code(owner_engine: Engine) -> None:
    with owner_engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_migrating_and_granting_again_changes_nothing(app_db: AppDatabase) -> None:
    assert database.migrate(app_db.owner) == []
    database.grant(app_db.owner)


def test_migrating_says_which_version_the_schema_came_to(postgres: PostgresServer) -> None:
    owner = postgres.create_database("app_new")
    newest = max(path.stem[:4] for path in VERSIONS.glob("[0-9]*.py"))
    assert database.migrate(owner) == [f"database app: schema new -> {newest}"]


def test_an_event_is_decided_once_with_one_outbox_row(worker_engine: Engine) -> None:
    assert ledger.record(worker_engine, DECISION)
    second = replace(DECISION, decision="decline", reasons=["changed its mind"])
    assert not ledger.record(worker_engine, second)
    found = ledger.find(worker_engine, "e1")
    assert found is not None
    assert found.decision == "approve"
    assert outbox(worker_engine) == ["e1"]
    assert found.decided_at is not None
    took = (found.decided_at - DECISION.signed_up_at).total_seconds()
    assert took >= 3
    body = found.to_json()
    assert body.pop("seconds") == round(took, 3)
    assert body == {
        "event_id": "e1",
        "entity_id": "7",
        "decision": "approve",
        "score": 0.125,
        "reasons": ["has savings"],
        "model_version": "v1",
    }


def test_many_writers_of_one_event_make_one_row(worker_engine: Engine) -> None:
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(ledger.record(worker_engine, DECISION)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == [False] * 7 + [True]
    assert outbox(worker_engine) == ["e1"]


def test_a_refused_decision_leaves_neither_row(worker_engine: Engine) -> None:
    with pytest.raises(IntegrityError):
        ledger.record(worker_engine, replace(DECISION, score=1.5))
    assert ledger.find(worker_engine, "e1") is None
    assert outbox(worker_engine) == []


def test_decisions_come_oldest_first_and_all_of_them(
    worker_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_PAGE", 3)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for number in range(10):
        # Pairs of the same time.
        at = start + timedelta(seconds=number // 2)
        ledger.record(worker_engine, replace(DECISION, event_id=f"e{number}", decided_at=at))
    everything = [decision.event_id for decision in ledger.decisions(worker_engine)]
    assert everything == [f"e{number}" for number in range(10)]
    late = ledger.decisions(worker_engine, start + timedelta(seconds=3))
    assert [decision.event_id for decision in late] == ["e8", "e9"]


def test_the_applicants_are_the_rows_of_the_file(
    owner_engine: Engine, worker_engine: Engine
) -> None:
    assert applicants.load_csv(owner_engine, CSV) == 1000
    assert applicants.load_csv(owner_engine, CSV) == 1000
    assert applicants.ids(worker_engine) == list(range(1, 1001))
    first = applicants.get(worker_engine, 1)
    assert first["credit_amount"] == 1169
    assert first["status_of_existing_checking_account"] == "... < 0 DM"
    assert len(first) == 20
    assert "creditability" not in first
    with pytest.raises(applicants.UnknownApplicantError, match="found entity_id 1001"):
        applicants.get(worker_engine, 1001)


def test_the_label_comes_with_labelled_only(owner_engine: Engine, worker_engine: Engine) -> None:
    applicants.load_csv(owner_engine, CSV)
    rows = applicants.labelled(worker_engine)
    assert [entity_id for entity_id, _, _ in rows] == list(range(1, 1001))
    assert [label for _, _, label in rows][:2] == ["good", "bad"]
    assert not any("creditability" in record for _, record, _ in rows)


def test_a_file_without_the_label_is_refused(owner_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"x\.csv:1: expected a column creditability, found a, b"):
        applicants.load_csv(owner_engine, tmp_path / "x.csv")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET decision = 'approve'",
        "DELETE FROM ledger",
        "UPDATE outbox SET published_at = now()",
        "DELETE FROM outbox",
        "UPDATE applicants SET creditability = 'good'",
        "INSERT INTO applicants VALUES (0, '{}', 'good')",
        "CREATE TABLE mine (a int)",
    ],
)
def test_workers_cannot_change_what_is_decided(worker_engine: Engine, statement: str) -> None:
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        worker_engine.begin() as connection,
    ):
        connection.execute(text(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM applicants",
        "UPDATE ledger SET decision = 'approve'",
        "DELETE FROM ledger",
        "UPDATE outbox SET published_at = now()",
        "DELETE FROM outbox",
        "CREATE TABLE mine (a int)",
    ],
)
def test_the_listener_only_adds_decisions(intake_engine: Engine, statement: str) -> None:
    assert ledger.record(intake_engine, DECISION)
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        intake_engine.begin() as connection,
    ):
        connection.execute(text(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM applicants",
        "INSERT INTO outbox (event_id) VALUES ('e1')",
        "UPDATE ledger SET decision = 'approve'",
        "UPDATE outbox SET event_id = 'x'",
        "CREATE TABLE mine (a int)",
    ],
)
def test_the_relay_only_publishes(relay_engine: Engine, statement: str) -> None:
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        relay_engine.begin() as connection,
    ):
        connection.execute(text(statement))


def test_what_a_decision_was_made_from_stands_or_falls_with_it(worker_engine: Engine) -> None:
    made_from = ledger.Inputs(
        record={"housing": "own"},
        versions={"risk": {"name": "risk-1", "sha256": "00"}},
        release="1",
        packs_sha256="11",
        scikit_learn="2",
    )
    assert ledger.inputs(worker_engine, "e1") is None
    assert ledger.record(worker_engine, DECISION, made_from)
    assert not ledger.record(worker_engine, DECISION, replace(made_from, release="2"))
    assert ledger.inputs(worker_engine, "e1") == made_from
