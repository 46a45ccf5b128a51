"""The models that all hosts share: two folders stand for two hosts, on a real PostgreSQL."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, insert, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from dags.packs import model_store
from dags.packs.model_store import NoModelError
from intake import model_registry, shared_models
from intake.model_registry import UnknownVersionError
from intake.tables import ModelRow
from tests import stored_models

NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/none"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


def put_to_use(engine: Engine, name: str) -> None:
    model_registry.promote(engine, name, by="somebody", reason="a test")


def train(engine: Engine, folder: Path, auc: float, *, promote: bool = True) -> str:
    """As the DAG train_risk_model does."""
    content, info = model_store.packed({"auc": auc}, {"metrics": {"auc": auc}})
    name = model_registry.add(engine, content, info, above=model_store.newest(folder))
    model_store.adopt(folder, name, content, info)
    if promote:
        put_to_use(engine, name)
    return name


def in_use(engine: Engine, folder: Path, age: float = 0) -> object:
    used = model_store.promoted(shared_models.refresh(engine, folder, model_store.adopt, age=age))
    return model_store.load(used)


def test_what_one_host_trains_is_used_on_another(
    worker_engine: Engine, here: Path, there: Path
) -> None:
    assert train(worker_engine, here, 0.7) == "risk-1"
    assert in_use(worker_engine, there) == {"auc": 0.7}
    assert model_store.promoted(there).info == {
        **model_store.read(here, "risk-1").info,
        "version": "risk-1",
    }
    assert train(worker_engine, there, 0.8) == "risk-2"
    assert in_use(worker_engine, here) == {"auc": 0.8}
    assert in_use(worker_engine, there) == {"auc": 0.8}


def test_nothing_is_used_before_it_is_promoted(
    worker_engine: Engine, here: Path, there: Path
) -> None:
    name = train(worker_engine, here, 0.7, promote=False)
    with pytest.raises(NoModelError):
        in_use(worker_engine, there)
    shared_models.fetch(worker_engine, there, name, model_store.adopt)
    assert model_store.promote(there, name).promoted
    put_to_use(worker_engine, name)
    assert in_use(worker_engine, here) == {"auc": 0.7}


def test_two_hosts_that_train_get_two_names_also_above_an_old_folder(
    worker_engine: Engine, here: Path, there: Path
) -> None:
    old = stored_models.store(here, {"auc": 0.6}, {"metrics": {"auc": 0.6}})
    assert model_store.promote(here, old.name).promoted
    # of before all hosts shared them: it stays in use until there is a shared one
    assert in_use(worker_engine, here) == {"auc": 0.6}
    names = [train(worker_engine, folder, 0.7, promote=False) for folder in (here, there)]
    assert names == ["risk-2", "risk-3"]


def test_a_version_is_fetched_again_when_the_record_has_another_of_its_name(
    worker_engine: Engine, here: Path, there: Path
) -> None:
    model_store.promote(there, stored_models.store(there, {}, {"metrics": {"auc": 0.5}}).name)
    train(worker_engine, here, 0.7)
    assert in_use(worker_engine, there) == {"auc": 0.7}
    assert model_store.versions(there) == ["risk-1"]


def test_while_the_database_is_away_the_copy_is_used(
    worker_engine: Engine, here: Path, there: Path
) -> None:
    away = create_engine(NOWHERE)
    with pytest.raises(OperationalError):
        in_use(away, there)
    train(worker_engine, here, 0.7)
    in_use(worker_engine, there)
    assert in_use(away, there) == {"auc": 0.7}


def test_it_is_asked_once_in_a_while_only(worker_engine: Engine, here: Path, there: Path) -> None:
    train(worker_engine, here, 0.7)
    in_use(worker_engine, there)
    train(worker_engine, here, 0.8)
    assert in_use(worker_engine, there, age=3600) == {"auc": 0.7}
    assert in_use(worker_engine, there) == {"auc": 0.8}


def test_an_unknown_version_cannot_be_fetched_or_promoted(
    worker_engine: Engine, here: Path
) -> None:
    with pytest.raises(UnknownVersionError, match="risk-9 in the table models, found none"):
        shared_models.fetch(worker_engine, here, "risk-9", model_store.adopt)
    with pytest.raises(UnknownVersionError, match="found no risk-9"):
        put_to_use(worker_engine, "risk-9")


def test_content_of_another_hash_does_not_come_in(worker_engine: Engine) -> None:
    wrong = hashlib.sha256(b"another").hexdigest()
    row = {"number": 1, "info": {}, "sha256": wrong, "content": b"one"}
    with pytest.raises(IntegrityError), worker_engine.begin() as connection:
        connection.execute(insert(ModelRow).values(row))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE models SET sha256 = ''",
        "DELETE FROM models",
        "UPDATE model_promotions SET number = 1",
        "DELETE FROM model_promotions",
    ],
)
def test_tasks_add_versions_and_change_none(worker_engine: Engine, statement: str) -> None:
    with pytest.raises(ProgrammingError), worker_engine.begin() as connection:
        connection.execute(text(statement))


def test_listener_and_relay_do_not_see_them(intake_engine: Engine, relay_engine: Engine) -> None:
    for engine in (intake_engine, relay_engine):
        with pytest.raises(ProgrammingError), engine.connect() as connection:
            connection.execute(text("SELECT * FROM models"))
