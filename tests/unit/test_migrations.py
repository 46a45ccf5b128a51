"""Migrations of both databases where the schema is of a later release, as after a rollback.

Of the databases themselves: tests/integration.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import StaticPool

from airflow_config import metadata
from intake import database


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A database whose schema is of a release that this one does not know."""
    found = create_engine("sqlite://", poolclass=StaticPool)
    with found.begin() as connection:
        connection.execute(text("CREATE TABLE task_instance (id INTEGER)"))
        for table in ("alembic_version", metadata.VERSION_TABLE):
            connection.execute(text(f"CREATE TABLE {table} (version_num TEXT)"))
            connection.execute(text(f"INSERT INTO {table} VALUES ('9999')"))  # noqa: S608
    monkeypatch.setattr(command, "upgrade", lambda *_: pytest.fail("changed"))
    return found


def test_the_schema_of_a_later_release_is_left_as_it_is(
    later: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "engine", lambda _: later)
    monkeypatch.setattr(database.locks, "take", lambda *_: None)
    assert database.migrate("") == []


def test_what_a_later_release_adds_to_the_metadata_is_left_as_it_is(
    later: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def locked(_: str) -> Iterator[tuple[Connection, Config]]:
        config = Config()
        config.set_main_option("script_location", str(metadata._MIGRATIONS))
        with later.begin() as connection:
            yield connection, config

    monkeypatch.setattr(metadata, "_locked", locked)
    assert metadata.migrate("") == []


def test_a_checkout_may_have_a_percent_sign_in_its_path(
    later: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "100% done"
    place.symlink_to(database._MIGRATIONS)
    monkeypatch.setattr(database, "_MIGRATIONS", place)
    monkeypatch.setattr(database, "engine", lambda _: later)
    taken: list[Any] = []
    monkeypatch.setattr(database.locks, "take", lambda *words: taken.append(words))
    database.migrate("")
    assert taken
