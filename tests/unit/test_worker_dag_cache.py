"""Parsed DAG files are kept as long as nothing that they were made of changes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from workers import dag_cache
from workers.dag_cache import DagCache

ARGUMENTS = {"bundle_name": "b", "safe_mode": False}


class Bag:
    """Stands for Airflow's: imports its file's helper, and remembers the file's text."""

    def __init__(self, dag_folder: str, bundle_path: Path, **_: Any) -> None:
        self.text = Path(dag_folder).read_text()
        module = ModuleType("cache_helper")
        module.__file__ = str(bundle_path / "helper.py")
        sys.modules.setdefault("cache_helper", module)


def write(file: Path, text: str) -> None:
    file.write_text(text)
    old = time.time_ns() - 10**9  # as a file that was not written just now
    os.utime(file, ns=(old, old))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    # The time of a file's last change can't be set: a second ago is as good as now.
    monkeypatch.setattr(dag_cache, "_written_since", lambda *_: False)
    write(tmp_path / "a.py", "1")
    write(tmp_path / "helper.py", "1")
    yield tmp_path
    sys.modules.pop("cache_helper", None)


def parse(cache: DagCache, folder: Path) -> Any:
    return cache.parse(Bag, str(folder / "a.py"), bundle_path=folder, **ARGUMENTS)


def find(cache: DagCache, folder: Path, **other: Any) -> Any:
    return cache.find(str(folder / "a.py"), **{"bundle_path": folder, **ARGUMENTS, **other})


def test_a_file_is_found_again(folder):
    cache = DagCache()
    bag = parse(cache, folder)
    assert find(cache, folder) is bag
    assert not cache.wants(str(folder / "a.py"))


def test_a_file_that_was_parsed_otherwise_is_not_found(folder):
    cache = DagCache()
    parse(cache, folder)
    assert find(cache, folder, safe_mode=True) is None


def test_a_changed_file_is_not_found_and_wanted(folder):
    cache = DagCache()
    parse(cache, folder)
    write(folder / "a.py", "2")
    assert cache.wants(str(folder / "a.py"))
    assert find(cache, folder) is None
    assert parse(cache, folder).text == "2"
    assert find(cache, folder).text == "2"


def test_a_change_of_equal_size_and_time_is_seen(folder):
    cache = DagCache()
    parse(cache, folder)
    times = (folder / "a.py").stat()
    (folder / "a.py").write_text("2")
    os.utime(folder / "a.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert find(cache, folder) is None


def test_a_changed_helper_makes_the_file_old_and_is_loaded_anew(folder):
    cache = DagCache()
    parse(cache, folder)
    old = sys.modules["cache_helper"]
    write(folder / "helper.py", "2")
    assert find(cache, folder) is None
    parse(cache, folder)
    assert sys.modules["cache_helper"] is not old


def test_a_changed_file_leaves_helpers_as_they_are(folder):
    cache = DagCache()
    parse(cache, folder)
    old = sys.modules["cache_helper"]
    write(folder / "a.py", "2")
    parse(cache, folder)
    assert sys.modules["cache_helper"] is old


def test_a_file_that_is_gone_is_not_found(folder):
    cache = DagCache()
    parse(cache, folder)
    (folder / "a.py").unlink()
    assert find(cache, folder) is None


def test_a_file_that_is_written_while_it_is_read_is_not_kept(tmp_path):
    (tmp_path / "a.py").write_text("1")
    cache = DagCache()
    try:
        parse(cache, tmp_path)
    finally:
        sys.modules.pop("cache_helper", None)
    assert find(cache, tmp_path) is None


def test_a_refused_file_is_wanted_only_after_a_change(folder):
    cache = DagCache()
    path = str(folder / "a.py")
    cache.refuse(path)
    assert not cache.wants(path)
    write(folder / "a.py", "2")
    assert cache.wants(path)


def test_no_more_files_are_kept_than_the_limit(folder, monkeypatch):
    monkeypatch.setattr(dag_cache, "MAX_FILES", 0)
    cache = DagCache()
    assert parse(cache, folder).text == "1"
    assert find(cache, folder) is None
    assert not cache.wants(str(folder / "a.py"))
