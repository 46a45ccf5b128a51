"""What people get wrong: stopped at once, with what to do, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.hosts.controller import Played
from tests.hosts.fleet import Fleet
from tests.hosts.inventory import CONTROL
from tests.hosts.signups import SignUps

#: Seconds: at once.
SOON = 90

short = pytest.mark.short


def _expect_untouched(played: Played, *words: str) -> None:
    assert played.code
    played.expect_said("Nothing was changed", "Fix:", *words)
    assert played.changed() == {}
    assert played.seconds < SOON


@contextmanager
def _queues(fleet: Fleet, old: str, new: str) -> Iterator[None]:
    text = fleet.queues.read_text()
    assert old in text
    fleet.queues.write_text(text.replace(old, new, 1))
    try:
        yield
    finally:
        fleet.queues.write_text(text)


@pytest.mark.parametrize("name", [pytest.param("site", marks=short), "upgrade"])
def test_a_wrong_queue_model(fleet: Fleet, signups: SignUps, name: str) -> None:
    with _queues(fleet, "task_timeout: 5m", "task_timeuot: 5m"):
        played = fleet.play(name, code=None)
    _expect_untouched(played, "queues.yaml", "task_timeuot", "did you mean 'task_timeout'?")


@short
def test_a_missing_secret(fleet: Fleet, signups: SignUps) -> None:
    kept = fleet.secrets["jwt_secret"]
    fleet.change_secrets(jwt_secret=None)
    try:
        played = fleet.play("site", code=None)
    finally:
        fleet.change_secrets(jwt_secret=kept)
    _expect_untouched(played, "jwt_secret", "airlane secrets init FILE adds what is missing")
    assert kept not in played.output


@short
def test_a_host_that_does_not_answer(fleet: Fleet, signups: SignUps) -> None:
    fleet.machines.cut("h2")
    try:
        played = fleet.play("upgrade", code=None)
    finally:
        fleet.machines.heal("h2")
    _expect_untouched(played, "these do not: h2 (10.78.0.12)")


@short
def test_a_full_disk(usual: Fleet, signups: SignUps) -> None:
    # of a host that is to join, for one at work cannot do without the folder
    usual.machines.shell("h3", "sudo mount -t tmpfs -o size=20M none /opt")
    try:
        played = usual.play("scale", code=None, **{"class": "batch", "count": 2})
    finally:
        usual.machines.shell("h3", "sudo umount /opt")
    _expect_untouched(played, "h3 does not fit", "MiB free", "make room")


@short
def test_a_class_that_is_not_there(fleet: Fleet, signups: SignUps) -> None:
    played = fleet.play("scale", code=None, **{"class": "onbording", "count": 2})
    _expect_untouched(played, "with one of onboarding, control, batch", "onbording")


@pytest.mark.parametrize("count", [0, pytest.param(9, marks=short), "many"])
def test_a_count_that_cannot_be(fleet: Fleet, signups: SignUps, count: int | str) -> None:
    played = fleet.play("scale", code=None, **{"class": "onboarding", "count": count})
    _expect_untouched(played, "found")


def test_more_hosts_than_there_are(fleet: Fleet, signups: SignUps) -> None:
    with _queues(fleet, "hosts: {min: 1, max: 3}", "hosts: {min: 1, max: 9}"):
        played = fleet.play("scale", code=None, **{"class": "onboarding", "count": 8})
    _expect_untouched(played, "Expected 7 more hosts for onboarding", "candidates")


@short
def test_a_group_that_is_no_class(fleet: Fleet, signups: SignUps) -> None:
    file = fleet.inventory / "members.yml"
    text = file.read_text()
    file.write_text(text.replace("workers_batch", "workers_bach"))
    try:
        played = fleet.play("site", code=None)
    finally:
        file.write_text(text)
    _expect_untouched(played, "found workers_bach")


@short
def test_a_rollback_to_what_no_host_has(fleet: Fleet, signups: SignUps) -> None:
    played = fleet.play("rollback", code=None, version="nonsense")
    _expect_untouched(played, "Expected release nonsense on", "upgrade.yml -e release_ref=COMMIT")
    # it would be the target of the next one
    assert fleet.machines.shell(CONTROL, "ls /opt/airlane/rollback 2>/dev/null || true") == ""


@short
def test_destroy_asks(fleet: Fleet, signups: SignUps) -> None:
    played = fleet.play("destroy", code=None, destroy_sure="yes")
    assert played.code
    played.expect_said("Nothing was changed. Expected test")
    assert fleet.workers()
