"""What is promoted, by whom and why, and the way back; on a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from dags.packs import model_store
from dags.packs.model_kinds import FRAUD, RISK
from intake import model_registry, shared_models
from intake.model_registry import (
    DamagedVersionError,
    NothingBeforeError,
    RegistryError,
    UnknownVersionError,
)

KINDS = {"risk": (RISK, "auc"), "fraud": (FRAUD, "doubted")}


def add(engine: Engine, kind: str = "risk", value: float = 0.7) -> str:
    model, metric = KINDS[kind]
    info = {"metrics": {metric: value}, "records": 705, "reference": {"fraud": ["long"]}}
    content, description = model_store.packed({"value": value}, info, model)
    return model_registry.add(engine, content, description, kind=kind)


def promote(engine: Engine, name: str, reason: str = "better") -> bool:
    return model_registry.promote(engine, name, by="ann@host", reason=reason)


def rollback(engine: Engine, kind: str = "risk") -> tuple[str, str]:
    return model_registry.rollback(engine, kind, by="bob@host", reason="worse after all")


def in_use(engine: Engine) -> list[str]:
    return [found.version for found in model_registry.versions(engine) if found.in_use]


def test_each_kind_counts_and_is_used_by_itself(worker_engine: Engine) -> None:
    names = [add(worker_engine, kind) for kind in ("risk", "fraud", "risk", "fraud", "risk")]
    assert names == ["risk-1", "fraud-1", "risk-2", "fraud-2", "risk-3"]
    assert in_use(worker_engine) == []
    for name in ("risk-3", "fraud-1"):
        assert promote(worker_engine, name)
    assert in_use(worker_engine) == ["risk-3", "fraud-1"]
    assert rollback_refused(worker_engine, "fraud") == "only fraud-1"


def rollback_refused(engine: Engine, kind: str) -> str:
    with pytest.raises(NothingBeforeError) as refused:
        rollback(engine, kind)
    return str(refused.value).partition("found ")[2].partition(". Fix")[0]


def test_a_rollback_goes_back_one_version_each_time(owner_engine: Engine) -> None:
    names = [add(owner_engine) for _ in range(4)]
    for name in names[:3]:
        promote(owner_engine, name)
    assert rollback(owner_engine) == ("risk-3", "risk-2")
    assert in_use(owner_engine) == ["risk-2"]
    assert rollback(owner_engine) == ("risk-2", "risk-1")
    assert rollback_refused(owner_engine, "risk") == "only risk-1"
    # what is promoted now lies upon the one in use, not upon those that were taken back
    promote(owner_engine, "risk-4")
    assert rollback(owner_engine) == ("risk-4", "risk-1")
    assert rollback_refused(owner_engine, "fraud") == "none"


def test_who_when_and_why_are_recorded(owner_engine: Engine) -> None:
    add(owner_engine), add(owner_engine)
    promote(owner_engine, "risk-1", "the first")
    promote(owner_engine, "risk-2")
    rollback(owner_engine)
    first, second = model_registry.versions(owner_engine)
    assert [(one.by, one.reason, one.action) for one in first.promotions] == [
        ("ann@host", "the first", "promote"),
        ("bob@host", "worse after all", "rollback"),
    ]
    assert [one.action for one in second.promotions] == ["promote"]
    shown = first.to_json()
    assert shown["promotions"][0]["at"] < shown["promotions"][1]["at"]
    assert (shown["metrics"], shown["records"], shown["release"]) == ({"auc": 0.7}, 705, None)
    assert "reference" not in first.info


def test_what_is_in_use_is_not_promoted_again(owner_engine: Engine) -> None:
    add(owner_engine)
    assert promote(owner_engine, "risk-1")
    assert not promote(owner_engine, "risk-1")
    (found,) = model_registry.versions(owner_engine)
    assert len(found.promotions) == 1


@pytest.mark.parametrize("name", ["risk-2", "fraud-1", "risk-0", "risk", "age-1", "", "risk--1"])
def test_a_version_that_is_not_there_is_refused(owner_engine: Engine, name: str) -> None:
    add(owner_engine)
    with pytest.raises(UnknownVersionError, match=f"found .*{name}.*Fix: airlane model list"):
        promote(owner_engine, name)
    assert in_use(owner_engine) == []


@pytest.mark.parametrize("kind", ["risk", "fraud"])
def test_a_damaged_version_is_refused_also_by_a_rollback(owner_engine: Engine, kind: str) -> None:
    table = model_registry.TABLES[kind][0].__tablename__
    for _ in range(2):
        promote(owner_engine, add(owner_engine, kind))
    # as a broken disk or a careless owner does: the constraint alone would not let it happen
    with pytest.raises(IntegrityError), owner_engine.begin() as connection:
        connection.execute(text(f"UPDATE {table} SET content = 'torn' WHERE number = 1"))  # noqa: S608
    with owner_engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {table}_sha256"))
        connection.execute(text(f"UPDATE {table} SET content = 'torn' WHERE number = 1"))  # noqa: S608
    for refused in (
        lambda: promote(owner_engine, f"{kind}-1"),
        lambda: rollback(owner_engine, kind),
    ):
        with pytest.raises(DamagedVersionError, match=f"{kind}-1 in the table {table}: expected"):
            refused()
    assert in_use(owner_engine) == [f"{kind}-2"]


def test_a_version_that_is_gone_stops_a_rollback(owner_engine: Engine) -> None:
    for _ in range(2):
        promote(owner_engine, add(owner_engine))
    with owner_engine.begin() as connection:
        connection.execute(
            text("ALTER TABLE model_promotions DROP CONSTRAINT model_promotions_number_fkey")
        )
        connection.execute(text("DELETE FROM models WHERE number = 1"))
    with pytest.raises(RegistryError, match="found no risk-1; the newest are: risk-2"):
        rollback(owner_engine)


def test_hosts_follow_a_promotion_and_a_rollback_without_a_restart(
    owner_engine: Engine, worker_engine: Engine, tmp_path: Path
) -> None:
    def here() -> tuple[object, object]:
        folder = shared_models.refresh(worker_engine, tmp_path, model_store.adopt, age=0)
        return tuple(model_store.load(model_store.promoted(folder, kind)) for kind in (RISK, FRAUD))

    for value in (0.7, 0.8):
        promote(owner_engine, add(owner_engine, "risk", value))
        promote(owner_engine, add(owner_engine, "fraud", value))
    assert here() == ({"value": 0.8}, {"value": 0.8})
    rollback(owner_engine, "fraud")
    assert here() == ({"value": 0.8}, {"value": 0.7})
    rollback(owner_engine)
    assert here() == ({"value": 0.7}, {"value": 0.7})


def test_a_noted_version_is_brought_also_when_another_is_in_use(
    worker_engine: Engine, tmp_path: Path
) -> None:
    first = add(worker_engine, "fraud", 0.1)
    (stored,) = model_registry.versions(worker_engine)
    promote(worker_engine, add(worker_engine, "fraud", 0.2))
    sha256 = str(stored.info["sha256"])
    shared_models.fetch(worker_engine, tmp_path, first, model_store.adopt, sha256=sha256)
    assert model_store.load(model_store.read(tmp_path, first)) == {"value": 0.1}
    with pytest.raises(UnknownVersionError, match="another one, of SHA-256"):
        shared_models.fetch(worker_engine, tmp_path, first, model_store.adopt, sha256="0" * 64)


@pytest.mark.parametrize("table", ["fraud_distributions", "fraud_promotions", "decision_inputs"])
def test_tasks_add_and_change_nothing_others_see_nothing(
    worker_engine: Engine, intake_engine: Engine, relay_engine: Engine, table: str
) -> None:
    with worker_engine.connect() as connection:
        connection.execute(text(f"SELECT * FROM {table}"))  # noqa: S608
    for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}"):  # noqa: S608
        with pytest.raises(ProgrammingError), worker_engine.begin() as connection:
            connection.execute(text(statement))
    for engine in (intake_engine, relay_engine):
        with pytest.raises(ProgrammingError), engine.connect() as connection:
            connection.execute(text(f"SELECT * FROM {table}"))  # noqa: S608
