"""Rendered files on a host: what would change, without secrets, and its writing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from deploy.fleet import changes
from deploy.fleet.changes import RenderError, compare, masked, write

SECRET = "open-sesame-and-more"


def test_what_is_missing_is_made_and_then_nothing_changes(tmp_path: Path) -> None:
    wanted = {tmp_path / "worker" / "airflow" / "airflow.cfg": "[core]\n"}
    found = compare(wanted, [], [], None)
    assert [(change.path, change.action) for change in found] == [
        (str(next(iter(wanted))), "created")
    ]
    assert not (tmp_path / "worker").exists(), "comparing writes nothing"
    write(wanted, found, None)
    assert next(iter(wanted)).read_text() == "[core]\n"
    assert stat.S_IMODE(next(iter(wanted)).stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "worker").stat().st_mode) == 0o750
    assert compare(wanted, [], [], None) == []


def test_a_diff_shows_the_setting_and_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "airflow.cfg"
    file.write_text("broker_url = rediss://airflow:an-older-one-of-them@r:6379/0\nworkers = 1\n")
    file.chmod(0o640)
    new = f"broker_url = rediss://airflow:{SECRET}@r:6379/0\nworkers = 2\n"
    (change,) = compare({file: new}, [], [SECRET], None)
    shown = "\n".join(change.diff)
    assert "-workers = 1" in shown
    assert "+workers = 2" in shown
    assert SECRET not in shown
    assert "an-older-one" not in shown


def test_a_new_password_alone_is_a_change_too(tmp_path: Path) -> None:
    file = tmp_path / "airflow.cfg"
    file.write_text("url = rediss://airflow:an-older-one-of-them@r/0\n")
    new = f"url = rediss://airflow:{SECRET}@r/0\n"
    (change,) = compare({file: new}, [], [SECRET], None)
    assert change.action == "changed"
    assert change.diff == ["(secrets alone have changed)"]


def test_a_secrets_file_shows_nothing(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "intake" / "api_user"
    (change,) = compare({file: "airlane_intake"}, [], [], None)
    assert change.diff == ["(the whole content is secret)"]


@pytest.mark.parametrize(
    "text",
    [
        f"fernet_key = {SECRET}",
        f"jwt_secret = {SECRET}",
        f"secret_key = {SECRET}",
        f"cookie_secret = '{SECRET}'",
        f"basic_auth = ['inspector:{SECRET}']",
        f"sql_alchemy_conn = postgresql+psycopg://airflow:{SECRET}@db:5432/airflow",
        f"anything at all: {SECRET}",
    ],
)
def test_what_looks_like_a_secret_is_hidden_known_or_not(text: str) -> None:
    assert SECRET not in masked(text, [SECRET])
    if "anything" not in text:
        assert SECRET not in masked(text, [])


def test_a_hash_of_a_password_is_hidden() -> None:
    assert masked(f"user relay on #{'0f' * 32}", []) == "user relay on #(hash of a secret)"


def test_a_mode_that_is_too_open_is_put_right(tmp_path: Path) -> None:
    file = tmp_path / "server.conf"
    file.write_text("port 0\n")
    file.chmod(0o644)
    (change,) = compare({file: "port 0\n"}, [], [], None)
    assert change.action == "mode"
    write({file: "port 0\n"}, [change], None)
    assert compare({file: "port 0\n"}, [], [], None) == []


def test_what_is_left_of_a_class_that_is_gone_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "classes"
    wanted = {folder / "batch.json": "{}\n"}
    write(wanted, compare(wanted, [folder], [], None), None)
    (folder / "nightly.json").write_text("{}\n")
    (change,) = compare(wanted, [folder], [], None)
    assert (change.action, Path(change.path).name) == ("removed", "nightly.json")
    write(wanted, [change], None)
    assert [path.name for path in folder.iterdir()] == ["batch.json"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "worker").write_text("a file where a folder is wanted")
    wanted = {tmp_path / "worker" / "queues.yaml": "queues: {}\n"}
    with pytest.raises(RenderError, match=r"worker/queues\.yaml, found: "):
        write(wanted, compare(wanted, [], [], None), None)


def test_a_group_that_is_not_there_is_named() -> None:
    with pytest.raises(RenderError, match="expected the group no-such-group-here, found none"):
        changes.group_number("no-such-group-here")


def test_an_own_group_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "a" / "file"
    group = os.getgid()
    write({file: "x"}, compare({file: "x"}, [], [], group), group)
    assert file.stat().st_gid == group
