"""Who works on a fleet: Ansible, an inventory, and the project of which releases are made."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_config.place import ROOT
from tests.hosts.machines import Machines

PLAYBOOKS = ROOT / "deploy" / "ansible" / "playbooks"

#: Seconds; they end a play that would never end. How long plays take is measured and printed.
_PLAY_DEADLINE = 3600

_RECAP = re.compile(r"^(\S+)\s+: (ok=.*)$", re.M)
_FOREIGN = re.compile(r"AIRFLOW|AIRLANE|ANSIBLE|CELERY|PYTHONPATH|PG")


@dataclass(frozen=True)
class Played:
    """What a playbook did.

    Parameters
    ----------
    code
        Exit code of ansible-playbook.
    output
        All that it printed.
    seconds
        How long it took.
    recap
        Host -> counts: ok, changed, unreachable, failed, ...
    """

    code: int
    output: str
    seconds: float
    recap: dict[str, dict[str, int]]

    def changed(self) -> dict[str, int]:
        """Return the hosts on which something changed, and how much."""
        return {host: counts["changed"] for host, counts in self.recap.items() if counts["changed"]}

    def expect_said(self, *words: str) -> None:
        """Expect words in the output, whatever the line breaks."""
        said = " ".join(self.output.replace("\\n", " ").split())
        missing = [word for word in words if " ".join(word.split()) not in said]
        assert not missing, f"expected {missing} in:\n{self.output[-4000:]}"


class Controller:
    """The machine that Ansible runs on.

    Parameters
    ----------
    machines
        The hosts that it reaches.
    folder
        For the inventory, the project of which releases are made, and logs of plays.
    ansible
        Folder of ansible-playbook and its kind.
    """

    def __init__(self, machines: Machines, folder: Path, ansible: Path) -> None:
        self.machines = machines
        self.folder = folder
        self.inventory = folder / "inventories" / "test"
        self.project = folder / "project"
        self.queues = self.inventory.parent / "queues.yaml"
        self._ansible = ansible
        self._plays = 0
        #: Play -> seconds, in order; printed at the end.
        self.times: list[tuple[str, float]] = []

    def play(
        self,
        name: str,
        *words: str,
        code: int | None = 0,
        deadline: float = _PLAY_DEADLINE,
        **variables: Any,
    ) -> Played:
        """Run a playbook and compare its exit code (0; None: any will do).

        Parameters
        ----------
        name
            Without `.yml`.
        words
            Options, such as `--check`.
        variables
            Of `-e`.
        """
        command = [
            str(self._ansible / "ansible-playbook"),
            *("-i", str(self.inventory), str(PLAYBOOKS / f"{name}.yml"), *words),
        ]
        if variables:
            command += ["-e", json.dumps(variables)]
        self._plays += 1
        log = self.folder / f"{self._plays:02}-{name}.log"
        begin = time.monotonic()
        with log.open("w") as output:
            try:
                done = subprocess.run(
                    command,
                    env=self._environment(),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    timeout=deadline,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                pytest.fail(f"{name}.yml did not end in {deadline:g} s\n{log.read_text()[-5000:]}")
        spent = time.monotonic() - begin
        said = " ".join((name, *words, *(f"{k}={v}" for k, v in variables.items())))
        self.times.append((said, spent))
        text = log.read_text()
        recap = {
            host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counts)}
            for host, counts in _RECAP.findall(text)
        }
        if code is not None and done.returncode != code:
            pytest.fail(
                f"{said}: expected exit code {code}, found {done.returncode}; {log}\n{text[-6000:]}"
            )
        assert recap or code != 0, f"{said}: expected a recap, found none; {log}"
        return Played(done.returncode, text, spent, recap)

    def begin_play(self, name: str, **variables: Any) -> subprocess.Popen[str]:
        """Start a playbook and return it; its output is a pipe."""
        return subprocess.Popen(
            [
                str(self._ansible / "ansible-playbook"),
                *("-i", str(self.inventory), str(PLAYBOOKS / f"{name}.yml")),
                *("-e", json.dumps(variables)),
            ],
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def bring(self, host: str, source: Path, target: str) -> None:
        """Copy a folder's content to a host, whose root it belongs to."""
        archive = shutil.make_archive(str(self.folder / "brought"), "tar", source)
        self._ad_hoc(host, "file", path=target, state="directory", mode="0755")
        self._ad_hoc(host, "unarchive", src=archive, dest=target)
        Path(archive).unlink()

    def _ad_hoc(self, host: str, module: str, **arguments: str) -> None:
        said = json.dumps(arguments)
        where = ["-i", str(self.inventory), host, "--become"]
        module = f"ansible.builtin.{module}"
        self.run([str(self._ansible / "ansible"), *where, "-m", module, "-a", said])

    def git(self, *words: str) -> str:
        """Run git in the project of which releases are made."""
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        return self.run(["git", "-C", str(self.project), *who, *words])

    def commit(self, subject: str) -> str:
        """Commit everything in the project and return the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)
        return self.git("rev-parse", "HEAD").strip()

    def run(self, words: list[str]) -> str:
        """Run a command and return what it printed; the test fails when it does."""
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=300, env=self._environment()
        )
        if done.returncode:
            pytest.fail(f"{shlex.join(words)}: exit {done.returncode}\n{done.stderr[-3000:]}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {k: v for k, v in os.environ.items() if not _FOREIGN.match(k)} | {
            "ANSIBLE_CONFIG": str(ROOT / "deploy" / "ansible" / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible-home"),
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.folder / "vault-password"),
            "ANSIBLE_NOCOLOR": "1",
            # the log of each play ends with where its time went
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
            "PROFILE_TASKS_TASK_OUTPUT_LIMIT": "40",
            # their own ssh enters the hosts' network; for tools that start one by its name
            "PATH": f"{self.machines.state / 'bin'}:{self._ansible}:{os.environ['PATH']}",
            # wheels are made once, and kept between sessions
            "XDG_CACHE_HOME": str(self.machines.state / "cache"),
            "LC_ALL": "C.UTF-8",
        }
