"""Old task logs go, young ones and what is not a log folder's stay."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_config.log_retention import prune

DAY = 86_400


def _log(path: Path, days: float, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    moment = time.time() - days * DAY
    os.utime(path, (moment, moment))
    return path


def test_only_old_logs_go(tmp_path: Path) -> None:
    old = _log(tmp_path / "dag_id=a" / "run_id=1" / "attempt=1.log", 31, "12345")
    young = _log(tmp_path / "dag_id=a" / "run_id=2" / "attempt=1.log", 29)
    assert prune(tmp_path, timedelta(days=30)) == (1, 5)
    assert not old.exists()
    assert young.exists()


def test_empty_folders_go_with_their_logs(tmp_path: Path) -> None:
    old = _log(tmp_path / "dag_id=a" / "run_id=1" / "attempt=1.log", 31)
    prune(tmp_path)
    # the deletion was a write to the folder: it goes with the next night that finds it old
    moment = time.time() - 31 * DAY
    os.utime(old.parent, (moment, moment))
    prune(tmp_path)
    assert not old.parent.exists()
    assert tmp_path.exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = _log(tmp_path / "outside" / "precious", 100)
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "link").symlink_to(outside.parent)
    assert prune(logs) == (0, 0)
    assert outside.exists()


def test_a_log_that_goes_meanwhile_keeps_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, old = (_log(tmp_path / "dag_id=a" / name, 31) for name in ("1.log", "2.log"))
    walk = os.walk

    def and_ship(folder: Path, topdown: bool) -> Iterator[Any]:
        for found in walk(folder, topdown=topdown):
            lost.unlink(missing_ok=True)
            yield found

    monkeypatch.setattr(os, "walk", and_ship)
    assert prune(tmp_path) == (1, 1)
    assert not old.exists()
