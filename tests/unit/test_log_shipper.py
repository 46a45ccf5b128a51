"""Logs of finished tasks, shipped from the outbox."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path, PurePosixPath

import pytest

from deploy.fleet import log_shipper
from deploy.fleet.log_shipper import LOOK, Shipper, Shipping, is_waiting, rsync, sweep
from tests.unit.log_outbox import LOG, an_outbox, waiting, written
from workers.finished_logs import hand_over


@pytest.fixture
def shipping(tmp_path: Path) -> Shipping:
    return an_outbox(tmp_path)


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
