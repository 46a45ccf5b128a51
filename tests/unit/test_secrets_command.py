"""`airlane secrets init`: what is in a file stays, and what cannot be used is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deploy.fleet import secrets
from tests.command_line import Airlane, runner


@pytest.fixture
def airlane(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Airlane:
    return runner(monkeypatch, capsys)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vault.yml"


def test_what_is_missing_is_added_and_the_rest_stays(airlane: Airlane, file: Path) -> None:
    assert airlane("secrets", "init", str(file)).code == 0
    before = yaml.safe_load(file.read_text())["airlane_secrets"]
    assert sorted(before) == secrets.names()
    text = file.read_text()
    assert airlane("secrets", "init", str(file)).out == f"Nothing to add to {file}.\n"
    assert file.read_text() == text
    file.write_text("".join(line for line in text.splitlines(True) if "jwt_secret" not in line))
    assert airlane("secrets", "init", str(file)).code == 0
    after = yaml.safe_load(file.read_text())["airlane_secrets"]
    assert after.pop("jwt_secret") != before.pop("jwt_secret")
    assert after == before
    assert file.stat().st_mode & 0o777 == 0o600


def test_variables_of_somebody_else_are_not_lost(airlane: Airlane, file: Path) -> None:
    text = "airlane_secrets: {}\nansible_become_password: theirs\n"
    file.write_text(text)
    ended = airlane("secrets", "init", str(file))
    assert ended.code == 2
    assert "found ansible_become_password too" in ended.err
    assert "theirs" not in ended.err
    assert file.read_text() == text


@pytest.mark.parametrize("content", [b"\xff\xfe", b"- a\n", b"", b"a: [", b"airlane_secrets: 1\n"])
def test_another_file_is_left_alone(airlane: Airlane, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    ended = airlane("secrets", "init", str(file))
    assert ended.code == 2
    assert "expected a mapping airlane_secrets" in ended.err
    assert file.read_bytes() == content


@pytest.mark.parametrize("name", ["", "none/vault.yml"])
def test_a_file_that_cannot_be_written_is_named(airlane: Airlane, file: Path, name: str) -> None:
    ended = airlane("secrets", "init", str(file.parent / name))
    assert ended.code == 2
    assert ended.err.startswith(
        f"airlane: expected to read and write {file.parent / name}, found: "
    )
