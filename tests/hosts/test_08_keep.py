"""Backups of a fleet at work, and the way back to one."""

from __future__ import annotations

from tests.hosts.fleet import Fleet
from tests.hosts.machines import await_true
from tests.hosts.signups import SignUps


def _await_decided(signups: SignUps, count: int) -> None:
    """Await this many more decisions."""
    wanted = len(signups.decided) + count
    await_true(lambda: len(signups.decided) >= wanted, f"{count} more decisions", 240)


def test_a_backup_of_both_databases_is_brought_here(usual: Fleet, signups: SignUps) -> None:
    folder = usual.inventory.parent / ".backups" / "test"
    before = set(folder.iterdir()) if folder.exists() else set()
    usual.play("backup")
    found = [file.name for file in set(folder.iterdir()) - before]
    assert {name.partition("-")[0] for name in found} == {"airflow", "app"}
    assert len({name.partition("-")[2] for name in found}) == 1, "of one moment"


def test_a_restore_keeps_what_was_decided_before_and_decides_the_rest_anew(
    usual: Fleet, signups: SignUps
) -> None:
    moment = signups.mark()
    _await_decided(signups, 5)
    kept = dict(signups.decided)
    usual.play("backup")
    _await_decided(signups, 5)
    lost = signups.decided.keys() - kept.keys()

    # decisions are published anew: an application reads from the beginning, once
    signups.pause_reading()
    usual.play("restore", restore_sure="yes")
    signups.read_anew()
    signups.check(moment)
    assert lost <= signups.decided.keys()
    assert {event: signups.decided[event] for event in kept} == kept
    for node in usual.workers():
        usual.airlane("canary", node)
