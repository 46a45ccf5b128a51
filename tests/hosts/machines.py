"""Real Debian hosts with systemd and sshd, by testhosts/testhosts.sh."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "testhosts" / "testhosts.sh"

#: Names and addresses of their own, beside a person's test hosts.
PREFIX, NET = "h", "10.78.0"

#: Their names are the machine's: one run at a time.
_LOCK = Path(f"/run/lock/airlane-test-hosts-{PREFIX}")

#: Seconds. The base image is made once, hosts boot in two seconds.
_UP_DEADLINE, _COMMAND_DEADLINE = 600, 120


class Machines:
    """The hosts `h1`, `h2`, ... and the switch between them.

    Parameters
    ----------
    state
        Folder of the base image, disks and keys; the image stays there.
    """

    #: Network namespace of the switch.
    switch = f"th-{PREFIX}"

    def __init__(self, state: Path) -> None:
        self.state = state
        self._environment = {
            **os.environ,
            "TESTHOSTS_STATE": str(state),
            "TESTHOSTS_PREFIX": PREFIX,
            "TESTHOSTS_NET": NET,
        }

    def run(
        self, *words: str, deadline: float = _COMMAND_DEADLINE, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run testhosts.sh."""
        done = subprocess.run(
            [str(PROGRAM), *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=deadline,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            pytest.fail(
                f"testhosts.sh {' '.join(words)}: exit {done.returncode}\n"
                f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
            )
        return done

    def up(self, count: int, *, keep: bool = False) -> None:
        """Boot this many hosts, afresh; those that an earlier run has left are ended.

        Parameters
        ----------
        count
            How many.
        keep
            Go on with those that an earlier run has left instead.
        """
        self._lock = _LOCK.open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail(
                f"expected no other tests on hosts named {PREFIX}1, {PREFIX}2, ... of this machine,"
                f" found {_LOCK} locked. Fix: wait for them"
            )
        if not keep:
            self.down()
        self.run("up", str(count), deadline=_UP_DEADLINE)

    def down(self) -> None:
        """End all of them and take away what they leave in the machine."""
        self.run("down", deadline=300)

    def start(self, host: str) -> None:
        """Boot a host with the disk that it had."""
        self.run("start", _number(host), deadline=_UP_DEADLINE)

    def crash(self, host: str) -> None:
        """Lose a host: everything in it gets SIGKILL at once."""
        self.run("crash", _number(host))

    def wipe(self, host: str) -> None:
        """Lose a host with its disk: the next start is a new machine."""
        self.run("wipe", _number(host))

    def cut(self, host: str) -> None:
        """Pull a host's cable."""
        self.run("cut", _number(host))

    def heal(self, host: str) -> None:
        """Put it back."""
        self.run("heal", _number(host))

    def reboot(self, host: str) -> None:
        """Have a host reboot itself in good order, and wait until it answers again."""
        # when its PID 1 was started; the boot id is the machine's
        words = "cut -d' ' -f22 /proc/1/stat"
        before = self.shell(host, words)
        # the connection may end before the answer
        self.run("ssh", _number(host), "sudo systemctl reboot", check=False)

        def is_back() -> bool:
            found = self.run("ssh", _number(host), words, check=False)
            return found.returncode == 0 and found.stdout != before

        await_true(is_back, f"{host} to be back after its reboot", 300)

    def shell(self, host: str, command: str, *, deadline: float = 120, check: bool = True) -> str:
        """Run a command of the shell on a host, as a user who may use sudo; return its output."""
        return self.run("ssh", _number(host), command, deadline=deadline, check=check).stdout

    def address(self, host: str) -> str:
        """Return a host's IP address."""
        return f"{NET}.{10 + int(_number(host))}"

    def inventory_variables(self) -> dict[str, str]:
        """Return what Ansible needs to reach the hosts: an ssh that enters their network itself."""
        lines = (self.state / "inventory.ini").read_text().partition("[all:vars]")[2].splitlines()
        found = dict(line.split("=", 1) for line in lines if "=" in line)
        # the playbooks say where they become root; for the controller it would hold too
        found.pop("ansible_become", None)
        return found


def _number(host: str) -> str:
    return host.removeprefix(PREFIX)


def await_true(
    condition: Callable[[], bool], what: str, deadline: float, pause: float = 1
) -> float:
    """Await a condition, fail when it does not come; return the seconds that it took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > deadline:
            pytest.fail(f"expected {what} within {deadline:g} s; it did not come")
        time.sleep(pause)
    return time.monotonic() - begin
