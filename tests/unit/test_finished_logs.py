"""Logs of finished tasks: handed over by the worker, shipped from the outbox."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from celery.signals import task_postrun

from deploy.fleet import log_shipper
from deploy.fleet.log_shipper import LOOK, Shipper, Shipping, is_waiting, rsync, sweep
from workers import finished_logs
from workers.finished_logs import hand_over, log_of, name_in_outbox

LOG = "dag_id=d/run_id=manual__2026-01-01T00:00:00+00:00/task_id=t/attempt=1.log"


@pytest.fixture
def shipping(tmp_path: Path) -> Shipping:
    found = Shipping(
        tasks=tmp_path / "tasks",
        outbox=tmp_path / "outbox",
        keepers=("c1", "c2"),
        user="airlane-logs",
        key=tmp_path / "key",
        known_hosts=tmp_path / "known_hosts",
        orphaned_s=100,
    )
    found.tasks.mkdir()
    log_shipper.prepare(found)
    return found


def written(shipping: Shipping, text: str = "{}\n") -> Path:
    file = shipping.tasks / LOG
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def waiting(shipping: Shipping, keeper: str = "c1") -> list[Path]:
    folder = shipping.outbox / keeper
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


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


def test_rsync_asks_nobody_and_trusts_known_hosts_alone(shipping: Shipping) -> None:
    words = rsync(shipping, "c1")
    shell = words[words.index("--rsh") + 1]
    assert "StrictHostKeyChecking=yes" in shell
    assert "BatchMode=yes" in shell
    assert f"UserKnownHostsFile={shipping.known_hosts}" in shell
    assert words[-2:] == [f"{shipping.outbox}/c1/", "airlane-logs@c1:./"]
    assert "--remove-source-files" in words
    assert rsync(shipping, "fd00::1")[-1] == "airlane-logs@[fd00::1]:./"


class Runs:
    """Stands for rsync: empties the folder, or fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = 0
        self.calls = 0

    def __call__(self, _: list[str]) -> tuple[int, str]:
        self.calls += 1
        if self.code == 0:
            for path in list(self.folder.rglob("*")):
                if path.is_file():
                    path.unlink()
        return self.code, "connection refused"


def test_an_empty_outbox_costs_no_connection(shipping: Shipping) -> None:
    runs = Runs(shipping.outbox / "c1")
    assert Shipper(shipping, "c1", runs).pass_once() == LOOK
    assert runs.calls == 0


def test_what_lies_there_is_shipped_and_its_folders_go(shipping: Shipping) -> None:
    written(shipping)
    hand_over(PurePosixPath(LOG), shipping.tasks, shipping.outbox, "w3")
    runs = Runs(shipping.outbox / "c1")
    assert Shipper(shipping, "c1", runs).pass_once() == LOOK
    assert list((shipping.outbox / "c1").iterdir()) == []
    assert is_waiting(shipping.outbox / "c2"), "each keeper has its own"


def test_a_keeper_that_is_away_is_asked_less_and_less(
    shipping: Shipping, caplog: pytest.LogCaptureFixture
) -> None:
    written(shipping)
    hand_over(PurePosixPath(LOG), shipping.tasks, shipping.outbox, "w3")
    runs = Runs(shipping.outbox / "c1")
    runs.code = 255
    shipper = Shipper(shipping, "c1", runs)
    waits = [shipper.pass_once() for _ in range(8)]
    assert waits == sorted(waits)
    assert waits[-1] == 60
    assert len(caplog.records) == 4  # failures 1, 2, 4, 8
    assert "expected c1 to take logs, found rsync's exit code 255" in caplog.text
    runs.code = 0
    assert shipper.pass_once() == LOOK


def test_it_ships_once_more_when_it_is_told_to_stop(shipping: Shipping) -> None:
    written(shipping)
    runs = Runs(shipping.outbox / "c1")
    stop = threading.Event()
    stop.set()
    shipper = Shipper(shipping, "c1", runs)
    hand_over(PurePosixPath(LOG), shipping.tasks, shipping.outbox, "w3")
    shipper.serve(stop)
    assert not is_waiting(shipping.outbox / "c1")


def test_what_nobody_handed_over_is_shipped_after_a_while(shipping: Shipping) -> None:
    file = written(shipping)
    now = file.stat().st_mtime
    assert sweep(shipping, "w3", booted=now - 1000, now=now + 50) == 0
    assert sweep(shipping, "w3", booted=now - 1000, now=now + 200) == 1
    assert not file.exists()
    assert len(waiting(shipping, "c1")) == len(waiting(shipping, "c2")) == 1


def test_what_a_boot_cut_off_is_shipped_at_once(shipping: Shipping) -> None:
    file = written(shipping)
    now = file.stat().st_mtime
    assert sweep(shipping, "w3", booted=now + 1, now=now + 2) == 1


def test_a_second_keepers_copy_has_the_time_by_which_rsync_compares(shipping: Shipping) -> None:
    file = written(shipping)
    os.utime(file, (1000, 1000))
    sweep(shipping, "w3", booted=2000, now=3000)
    times = {
        (shipping.outbox / keeper / name).stat().st_mtime
        for keeper in shipping.keepers
        for name in waiting(shipping, keeper)
    }
    assert times == {1000}


def test_a_log_that_waits_for_keepers_that_are_away_is_left_as_it_is(
    shipping: Shipping, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(shipping)
    hand_over(PurePosixPath(LOG), shipping.tasks, shipping.outbox, "w3")
    # its links are the worker's, whose files this user may not write
    monkeypatch.setattr(Path, "write_bytes", lambda *_: pytest.fail("written"))
    now = file.stat().st_mtime
    assert sweep(shipping, "w3", booted=now + 1, now=now + 2) == 0
    assert file.read_text() == "{}\n"
    for keeper in shipping.keepers:
        (name,) = waiting(shipping, keeper)
        assert (shipping.outbox / keeper / name).samefile(file)


def test_a_log_that_one_keeper_has_is_not_written_again_for_the_other(shipping: Shipping) -> None:
    file = written(shipping)
    hand_over(PurePosixPath(LOG), shipping.tasks, shipping.outbox, "w3")
    (name,) = waiting(shipping, "c1")
    (shipping.outbox / "c1" / name).unlink()
    link, number = shipping.outbox / "c2" / name, file.stat().st_ino
    now = file.stat().st_mtime
    assert sweep(shipping, "w3", booted=now + 1, now=now + 2) == 1
    assert link.stat().st_ino == number
    assert link.read_text() == "{}\n"


def test_the_second_keepers_copy_is_made_before_the_first_may_take_the_log(
    shipping: Shipping, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(shipping)
    replace = Path.replace

    def take_at_once(path: Path, target: Path) -> None:
        replace(path, target)
        target.unlink()

    monkeypatch.setattr(Path, "replace", take_at_once)
    assert sweep(shipping, "w3", booted=2**40, now=2**41) == 1
    assert len(waiting(shipping, "c2")) == 1


def test_one_log_that_goes_meanwhile_does_not_hold_up_the_others(
    shipping: Shipping, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(shipping)
    other = shipping.tasks / "dag_id=e" / "attempt=1.log"
    other.parent.mkdir()
    other.touch()
    replace = Path.replace
    gone: list[Path] = []

    def replace_but_the_first(path: Path, target: Path) -> None:
        if not gone:
            gone.append(path)
            raise FileNotFoundError(target)
        replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_but_the_first)
    assert sweep(shipping, "w3", booted=2**40, now=2**41) == 1
    assert sweep(shipping, "w3", booted=2**40, now=2**41) == 1, "the next look takes it"


def test_old_logs_are_deleted_although_the_others_cannot_be_shipped(
    shipping: Shipping, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(shipping)
    os.utime(file, (1000, 1000))

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_shipper, "sweep", no_room)
    with pytest.raises(OSError, match="No space"):
        log_shipper.tidy(shipping, "w3", booted=0.0)
    assert not file.exists()


def test_a_folder_that_cannot_be_read_is_a_failure_like_another(
    shipping: Shipping, caplog: pytest.LogCaptureFixture
) -> None:
    (shipping.outbox / "c1").rmdir()
    (shipping.outbox / "c1").touch()
    shipper = Shipper(shipping, "c1", Runs(shipping.outbox / "c1"))
    assert shipper.pass_once() > LOOK
    assert "expected c1 to take logs" in caplog.text
    assert "Not a directory" in caplog.text


def test_a_host_that_keeps_logs_no_more_leaves_no_folder(
    shipping: Shipping, caplog: pytest.LogCaptureFixture
) -> None:
    (shipping.outbox / "gone" / "dag_id=d").mkdir(parents=True)
    (shipping.outbox / "away").mkdir()
    (shipping.outbox / "away" / "log").touch()
    log_shipper.prepare(shipping)
    assert sorted(path.name for path in shipping.outbox.iterdir()) == ["away", "c1", "c2"]
    assert "found" in caplog.text
    assert "away, which is not empty" in caplog.text


def test_a_keeper_moves_none_of_what_it_keeps(shipping: Shipping) -> None:
    file = written(shipping)
    os.utime(file, (time.time() - 1000,) * 2)
    log_shipper.tidy(shipping.model_copy(update={"keeps": True}), "c1", booted=time.time())
    assert file.exists()
    assert not is_waiting(shipping.outbox / "c1")


def test_what_is_too_old_is_deleted(shipping: Shipping) -> None:
    file = written(shipping)
    os.utime(file, (1000, 1000))
    log_shipper.tidy(shipping.model_copy(update={"keeps": True}), "c1", booted=0.0)
    assert not file.exists()
