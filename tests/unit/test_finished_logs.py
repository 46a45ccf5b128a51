"""Logs of finished tasks, handed over by the worker: to whom, and that two users may share it."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from celery.signals import task_postrun

from deploy.fleet import log_shipper
from deploy.fleet.log_shipper import Shipping, sweep
from tests.unit.log_outbox import LOG, an_outbox, waiting, written
from workers import finished_logs
from workers.finished_logs import hand_over, log_of, name_in_outbox


@pytest.fixture
def shipping(tmp_path: Path) -> Shipping:
    return an_outbox(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([json.dumps({"type": "ExecuteTask", "log_path": LOG})], LOG),
        ((json.dumps({"log_path": LOG}), 1), LOG),
        ([json.dumps({"log_path": None})], None),
        ([json.dumps({"type": "ExecuteCallback"})], None),
        ([json.dumps({"log_path": "../../etc/passwd"})], None),
        ([json.dumps({"log_path": "/etc/passwd"})], None),
        (["{"], None),
        (["[]"], None),
        ([{}], None),
        ([], None),
        (None, None),
    ],
)
def test_the_log_of_a_workload(arguments: object, expected: str | None) -> None:
    assert log_of(arguments) == (expected and PurePosixPath(expected))


def test_airflows_reader_finds_what_was_shipped() -> None:
    name = name_in_outbox(PurePosixPath(LOG), "w3", 12)
    assert name.parent == PurePosixPath(LOG).parent
    # file_task_handler.py: _read_from_local globs the log's own name with a star behind it
    assert name.match("attempt=1.log*")
    assert not name.match("attempt=10.log*")


def test_a_log_is_handed_over_to_each_keeper_and_stays(shipping: Shipping) -> None:
    file = written(shipping)
    assert hand_over(PurePosixPath(LOG), shipping.tasks, shipping.outbox, "w3") == 2
    assert file.exists(), "the log server shows it until it is shipped"
    for keeper in shipping.keepers:
        (name,) = waiting(shipping, keeper)
        assert (shipping.outbox / keeper / name).samefile(file)


def test_a_try_that_goes_on_is_handed_over_again_whole(shipping: Shipping) -> None:
    file = written(shipping, "first\n")
    hand_over(PurePosixPath(LOG), shipping.tasks, shipping.outbox, "w3")
    with file.open("a") as more:
        more.write("second\n")
    hand_over(PurePosixPath(LOG), shipping.tasks, shipping.outbox, "w3")
    (name,) = waiting(shipping)
    assert (shipping.outbox / "c1" / name).read_text() == "first\nsecond\n"


def test_another_file_of_the_name_never_takes_the_place_of_the_first(shipping: Shipping) -> None:
    file = written(shipping, "first\n")
    hand_over(PurePosixPath(LOG), shipping.tasks, shipping.outbox, "w3")
    file.unlink()
    written(shipping, "second\n")
    hand_over(PurePosixPath(LOG), shipping.tasks, shipping.outbox, "w3")
    texts = {(shipping.outbox / "c1" / name).read_text() for name in waiting(shipping)}
    assert texts == {"first\n", "second\n"}


#: Users that no machine has; on a host they are airlane-worker and airlane-logs.
WORKER, SHIPPER = 64_001, 64_002


def as_user(user: int, work: Callable[[], object]) -> None:
    """Do something as a user in a group of his number, with the umask of a unit."""

    def child() -> None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        os.umask(0o027)
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    try:
        process.join(60)
        assert process.exitcode == 0, "see what it printed"
    finally:
        process.kill()


@pytest.fixture
def users_shipping(shipping: Shipping) -> Iterator[Shipping]:
    """Folders as the role airflow makes them, where every user can come to."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        found = shipping.model_copy(
            update={"tasks": Path(name) / "tasks", "outbox": Path(name) / "outbox"}
        )
        for folder in (found.tasks, found.outbox):
            folder.mkdir()
            os.chown(folder, WORKER, SHIPPER)
            folder.chmod(0o2770)
        yield found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become others")
def test_two_users_share_an_outbox(
    users_shipping: Shipping, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipping = users_shipping
    monkeypatch.setenv(finished_logs.VARIABLE, str(shipping.outbox))
    late = f"{LOG.rpartition('/')[0]}/attempt=2.log"

    def make_folders() -> None:
        os.umask(log_shipper.UMASK)
        log_shipper.prepare(shipping)

    def hand_over_two() -> None:
        finished_logs.connect()
        for name in (LOG, late):
            file = shipping.tasks / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("{}\n")
            os.utime(file, (1, 1) if name == late else None)
        assert hand_over(PurePosixPath(LOG), shipping.tasks, shipping.outbox, "w3") == 2

    def ship_all() -> None:
        os.umask(log_shipper.UMASK)
        # the second one was handed over by nobody
        assert sweep(shipping, "w3", 0, time.time()) == 1
        for keeper in shipping.keepers:
            assert len(waiting(shipping, keeper)) == 2
            for name in waiting(shipping, keeper):
                (shipping.outbox / keeper / name).unlink()

    def hand_over_again() -> None:
        finished_logs.connect()
        assert hand_over(PurePosixPath(LOG), shipping.tasks, shipping.outbox, "w3") == 2

    def ship_and_tidy() -> None:
        for keeper in shipping.keepers:
            for name in waiting(shipping, keeper):
                (shipping.outbox / keeper / name).unlink()
            log_shipper.remove_empty(shipping.outbox / keeper)
            assert list((shipping.outbox / keeper).iterdir()) == []

    as_user(SHIPPER, make_folders)
    as_user(WORKER, hand_over_two)
    as_user(SHIPPER, ship_all)
    as_user(WORKER, hand_over_again)
    as_user(SHIPPER, ship_and_tidy)


def test_nothing_is_handed_over_without_an_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(finished_logs.VARIABLE, raising=False)
    connected: list[object] = []
    monkeypatch.setattr(task_postrun, "connect", lambda *a, **_: connected.append(a))
    finished_logs.connect()
    assert connected == []
