"""Files with secrets are written whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.files import write_private


def test_a_file_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "keys", "old")
    write_private(tmp_path / "keys", "new")
    assert (tmp_path / "keys").read_text() == "new"
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    write_private(tmp_path / "keys", "new", mode=0o640, group=os.getgid())
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o640


def test_what_cannot_be_written_leaves_no_secret_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_private(tmp_path / "keys", "old")

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(PermissionError):
        write_private(tmp_path / "keys", "new", group=1)
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]
    assert (tmp_path / "keys").read_text() == "old"


def test_a_name_stands_for_what_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(os, "fsync", lambda _: done.append("on the disk"))
    monkeypatch.setattr(Path, "replace", lambda *a: (done.append("named"), replace(*a)))
    write_private(tmp_path / "keys", "text")
    assert done == ["on the disk", "named"]
