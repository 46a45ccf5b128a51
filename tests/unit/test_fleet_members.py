"""Who serves which class, as scale.yml notes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.fleet import members

CLASSES = ("batch", "onboarding")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "members.yml"


def hosts(file: Path, name: str) -> list[str]:
    group = yaml.safe_load(file.read_text())["workers"]["children"][f"workers_{name}"]
    return list((group or {}).get("hosts", {}))


def test_the_first_hosts_make_the_file(file: Path) -> None:
    assert members.change(file, CLASSES, "batch", ["w3", "w2"], [])
    assert file.read_text().endswith(
        """\
workers:
  children:
    workers_batch:
      hosts:
        w2:
        w3:
    workers_onboarding:
"""
    )
    assert file.stat().st_mode & 0o777 == 0o644


def test_who_joined_and_left_is_all_that_changes(file: Path) -> None:
    members.change(file, CLASSES, "batch", ["w2", "w3"], [])
    members.change(file, CLASSES, "onboarding", ["w3"], [])
    assert members.change(file, CLASSES, "batch", ["w4"], ["w3"])
    assert hosts(file, "batch") == ["w2", "w4"]
    assert hosts(file, "onboarding") == ["w3"]


def test_to_say_it_again_changes_nothing(file: Path) -> None:
    members.change(file, CLASSES, "batch", ["w2"], [])
    before = file.stat().st_mtime_ns
    assert not members.change(file, CLASSES, "batch", ["w2"], ["w9"])
    assert file.stat().st_mtime_ns == before


def test_variables_of_a_host_stay_and_a_class_that_is_gone_goes(file: Path) -> None:
    file.write_text(
        "workers: {children: {workers_batch: {hosts: {w2: {note: slow}}}, workers_old: {}}}"
    )
    assert members.change(file, CLASSES, "batch", ["w3"], [])
    children = yaml.safe_load(file.read_text())["workers"]["children"]
    assert children["workers_batch"]["hosts"] == {"w2": {"note": "slow"}, "w3": None}
    assert "workers_old" not in children


@pytest.mark.parametrize(
    "content",
    [
        *("- w2", "workers: [w2]", "workers: {children: {a: b}}", "a: ["),
        "workers: {children: {workers_batch: {hosts: [w2, w3]}}}",
    ],
)
def test_a_file_of_something_else_is_refused_and_left_alone(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(members.MembersError, match=r"members\.yml.*Fix:"):
        members.change(file, CLASSES, "batch", ["w2"], [])
    assert file.read_text() == content


_JOIN = """
import sys
from pathlib import Path
from deploy.fleet import members
sys.stdin.readline()
for n in range(20):
    members.change(Path(sys.argv[1]), ("batch",), "batch", [f"{sys.argv[2]}{n}"], [])
"""


def test_of_plays_at_the_same_time_none_is_lost(file: Path) -> None:
    plays = [
        subprocess.Popen(
            [sys.executable, "-c", _JOIN, str(file), name], stdin=subprocess.PIPE, text=True
        )
        for name in ("a", "b", "c")
    ]
    try:
        for play in plays:
            assert play.stdin is not None
            play.stdin.write("go\n")
            play.stdin.flush()
        for play in plays:
            play.communicate(timeout=120)
            assert play.returncode == 0
    finally:
        for play in plays:
            play.kill()
    assert set(hosts(file, "batch")) == {f"{name}{n}" for name in "abc" for n in range(20)}


def test_a_file_that_is_no_text_is_named(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(members.MembersError, match=r"expected workers, children.*members\.yml"):
        members.change(file, CLASSES, "batch", ["w1"], [])
    assert file.read_bytes() == b"\xff\xfe"
