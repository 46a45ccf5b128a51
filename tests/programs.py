"""Small real programs that stand in for the stack's parts, and an instance that runs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy.local import leftovers, status
from deploy.local.instance import Instance
from deploy.local.parts import Part
from deploy.local.supervisor import Supervisor

#: argv: the folder of traces, a name, then words that say how to behave.
SOURCE = """\
import os, signal, subprocess, sys, time
from pathlib import Path

folder, name, *manners = sys.argv[1:]


def trace(what):
    with open(Path(folder) / "trace", "a") as file:
        file.write(f"{what} {name} {os.getpid()}\\n")


def end(*_):
    trace("ended")
    sys.exit(0)


signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in manners else end)
trace("started")
print(f"{name} says hello", flush=True)
if "broken" in manners:
    sys.exit(f"{name}: expected a reason to live, found none")
if "forks" in manners:
    subprocess.Popen(["sleep", "600"], start_new_session=True)
if "talks" in manners:
    for _ in range(60_000):
        print("x" * 99, flush=True)
if "slow" in manners:
    time.sleep(1)
trace("ready")
(Path(folder) / name).write_text(str(os.getpid()))
while True:
    time.sleep(60)
"""


#: Has the stack consist of the parts that it is given.
Use = Callable[..., None]


@dataclass
class Programs:
    """Makes parts of small programs, and reads what they left behind."""

    folder: Path
    reports: list[str] = field(default_factory=list)

    def part(
        self, name: str, *manners: str, stage: int = 0, stop_order: int = 0, grace: int = 10
    ) -> Part:
        self.folder.mkdir(exist_ok=True)
        program = self.folder / "program.py"
        program.write_text(SOURCE)
        return Part(
            name=name,
            words=[sys.executable, str(program), str(self.folder), name, *manners],
            ready=lambda _since: self.is_ready(name),
            stage=stage,
            stop_order=stop_order,
            grace=grace,
        )

    def is_ready(self, name: str) -> bool:
        """Say whether a process of this name is ready and still there."""
        file = self.folder / name
        try:
            return psutil.pid_exists(int(file.read_text()))
        except (OSError, ValueError):
            return False

    @property
    def trace(self) -> list[str]:
        """What happened, in order: `started a`, `ready a`, `ended a`."""
        lines = (self.folder / "trace").read_text().splitlines()
        return [line.rpartition(" ")[0] for line in lines]

    def report(self, line: str) -> None:
        self.reports.append(line)


@contextmanager
def sleeping(environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that does nothing, with this environment, until the block ends."""
    with subprocess.Popen(["sleep", "600"], env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def end_all(instance: Instance) -> None:
    """End what a test has left running, the supervisor first; by process id, never by name."""
    found = leftovers.find(instance.folder)
    found.sort(key=lambda process: leftovers.part_of(process) != "supervisor")
    for process in found:
        process.kill()
    psutil.wait_procs(found, timeout=10)
    Supervisor(instance).remove_socket()


def states(instance: Instance) -> dict[str, str]:
    """Return what `airlane status` says of each part."""
    return {part.name: part.state for part in status.status(instance).parts}


def pid(instance: Instance, name: str) -> int:
    """Return a part's process id."""
    return int(Supervisor(instance).states()[name]["pid"])
