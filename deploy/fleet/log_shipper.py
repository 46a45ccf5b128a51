"""Ships the logs of finished tasks to the hosts that keep them: `airlane serve log-shipper`.

Workers link each finished log into the outbox (`workers.finished_logs`), a folder for each keeper;
rsync takes them from there over ssh and removes what has arrived. So the outbox is all the state
there is: a keeper that is away gets them later, and a log is readable there after its host is gone.

What nobody handed over (its worker was killed) is shipped too: when the host was started anew
since it was written, or when no task may run that long.

The user of this service has a key that may write below the keepers' folder of logs and do nothing
else (rrsync); tasks run under another user and cannot read it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import psutil
from pydantic import BaseModel, ConfigDict

from airflow_config import log_retention
from intake.backoff import is_told
from workers.finished_logs import name_in_outbox

log = logging.getLogger(__name__)

#: Seconds between looks into the outbox, each a connection where tasks end all the time: at one
#: second, twenty hosts at work would have a keeper make and end twenty each second. Until then the
#: worker's own log server shows the log. Between looks for logs that nobody handed over.
LOOK, SWEEP = 5.0, 600.0
#: Seconds that one rsync may take, and to wait for its keeper's answer.
TIMEOUT, CONNECT = 600, 10
#: The workers' user links logs into the folders that this one makes, and is in no group of it.
#: Nobody else comes so far: the outbox is open to these two only.
UMASK = 0
#: Seconds to wait after a failure, at first and at most.
_WAIT, _LONGEST = 10.0, 60.0


class Shipping(BaseModel):
    """What `airlane fleet render logs` tells; see `deploy.fleet.rendering`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: Path
    outbox: Path
    keeps: bool = False
    keepers: tuple[str, ...]
    user: str
    key: Path
    known_hosts: Path
    orphaned_s: int


def prepare(shipping: Shipping) -> None:
    """Make a folder for each keeper, and say what lies there for one that keeps none any more."""
    for keeper in shipping.keepers:
        (shipping.outbox / keeper).mkdir(parents=True, exist_ok=True)
    for folder in shipping.outbox.iterdir():
        if folder.name in shipping.keepers:
            continue
        remove_empty(folder)
        try:
            folder.rmdir()
        except OSError:
            log.warning(
                "expected folders of %s in the outbox, found %s, which is not empty. Fix: name "
                "it in logs.keepers of the site file, or remove it",
                *(", ".join(shipping.keepers) or "no keeper", folder),
            )


def rsync(shipping: Shipping, keeper: str) -> list[str]:
    """Return the command that empties a keeper's folder of the outbox."""
    ssh = (
        *("ssh", "-i", str(shipping.key), "-o", "BatchMode=yes"),
        *("-o", "IdentitiesOnly=yes", "-o", f"ConnectTimeout={CONNECT}"),
        *("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={shipping.known_hosts}"),
        # a keeper that is cut off must not hold the others' turn for long
        *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
    )
    where = f"[{keeper}]" if ":" in keeper else keeper
    return [
        *("rsync", "--recursive", "--times", "--perms", "--omit-dir-times"),
        # readable for the API server there, whose group the keeper's folder has
        "--chmod=D2770,F0640",
        *("--remove-source-files", f"--timeout={CONNECT * 3}"),
        *("--rsh", " ".join(ssh)),
        f"{shipping.outbox / keeper}/",
        f"{shipping.user}@{where}:./",
    ]


def is_waiting(folder: Path) -> bool:
    """Say whether any file lies below a folder; an outbox that is empty costs one look."""
    return next(_files(folder), None) is not None


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder; one that is removed meanwhile has none."""
    try:
        found = os.scandir(folder)
    except FileNotFoundError:
        return
    with found as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def remove_empty(folder: Path) -> None:
    """Remove the folders that rsync has left empty; one that is filled meanwhile stays."""
    for where, _, _ in os.walk(folder, topdown=False):
        if Path(where) != folder:
            try:
                Path(where).rmdir()
            except OSError:
                continue  # not empty


def sweep(shipping: Shipping, host: str, booted: float, now: float) -> int:
    """Move logs that nobody handed over into the outbox; return how many.

    Parameters
    ----------
    shipping
        Folders and keepers.
    host
        This host's name.
    booted, now
        Seconds since the epoch.
    """
    moved = 0
    for path in list(_files(shipping.tasks)):
        try:
            stat = path.stat()
            if stat.st_mtime >= booted and now - stat.st_mtime < shipping.orphaned_s:
                continue
            relative = PurePosixPath(path.relative_to(shipping.tasks))
            name = name_in_outbox(relative, host, stat.st_ino)
            moved += _move(path, [shipping.outbox / keeper / name for keeper in shipping.keepers])
        except FileNotFoundError:
            # it is gone, or its new folder was removed while it was empty: the next look takes it
            continue
    return moved


def _move(path: Path, places: list[Path]) -> bool:
    """Bring a log to its places and away from its own; say whether it had to be.

    Whoever interrupts it finds the log where it was: it leaves its place last.
    """
    if not places or _is_same(places[0], path):
        return False  # handed over, and its keeper is away
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
    first, *others = places
    for other in others:
        # a link of a worker's is not ours to write
        if not _is_same(other, path):
            # a second keeper's folder takes a copy, with the time by which rsync compares
            shutil.copyfile(path, other)
            stat = path.stat()
            os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    # Renamed rather than linked: the system lets nobody link what he may not write.
    path.replace(first)
    return True


def _is_same(place: Path, path: Path) -> bool:
    try:
        return place.samefile(path)
    except FileNotFoundError:
        return False


class Shipper:
    """The service's loop for one keeper.

    Parameters
    ----------
    shipping
        What to ship and how.
    keeper
        To which host.
    run
        Runs a command and returns its exit code and what it said.
    """

    def __init__(
        self,
        shipping: Shipping,
        keeper: str,
        run: Callable[[list[str]], tuple[int, str]],
    ) -> None:
        self._folder = shipping.outbox / keeper
        self._keeper = keeper
        self._words = rsync(shipping, keeper)
        self._run = run
        self._failures = 0

    def pass_once(self) -> float:
        """Ship what lies there; return the seconds to wait before the next look."""
        try:
            if not is_waiting(self._folder):
                return LOOK
            code, said = self._run(self._words)
        except OSError as error:
            # a thread that ends would leave its keeper without logs, and nobody would see it
            code, said = 255, str(error)
        if code == 0:
            if self._failures:
                log.info("%s takes logs again", self._keeper)
            self._failures = 0
            remove_empty(self._folder)
            return LOOK
        self._failures += 1
        if is_told(self._failures):
            log.warning(
                "expected %s to take logs, found rsync's exit code %d: %s. They wait in %s",
                *(self._keeper, code, said.strip()[-500:], self._folder),
            )
        return min(_WAIT * 2.0 ** min(self._failures - 1, 10), _LONGEST)

    def serve(self, stop: threading.Event) -> None:
        """Ship until told to stop, and once more then: a host that is drained leaves no log."""
        while not stop.wait(self.pass_once()):
            pass
        self.pass_once()


def run(words: list[str]) -> tuple[int, str]:
    """Run a command; return its exit code and what it said."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=TIMEOUT, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 255, str(error)
    return done.returncode, done.stderr or done.stdout


def tidy(shipping: Shipping, host: str, booted: float) -> None:
    """Ship what nobody handed over, and delete what is too old."""
    try:
        # what a keeper has is where it belongs
        if not shipping.keeps and (moved := sweep(shipping, host, booted, time.time())):
            log.info("%d logs were handed over by nobody; they are shipped now", moved)
    finally:
        # also when there was no room for a copy: it makes some
        files, size = log_retention.prune(shipping.tasks)
        if files:
            log.info("deleted %d old logs, %.1f MiB", files, size / 2**20)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service until SIGTERM."""
    parser = argparse.ArgumentParser(prog="airlane serve log-shipper", description=__doc__)
    parser.add_argument("settings", type=Path, help="shipping.json, by airlane fleet render")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    os.umask(UMASK)
    shipping = Shipping.model_validate(json.loads(options.settings.read_text(encoding="utf-8")))
    prepare(shipping)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threads = [
        threading.Thread(target=Shipper(shipping, keeper, run).serve, args=(stop,))
        for keeper in shipping.keepers
    ]
    for thread in threads:
        thread.start()
    host, booted = socket.gethostname(), psutil.boot_time()
    while True:
        try:
            tidy(shipping, host, booted)
        except OSError as error:
            log.warning("could not look through the task logs: %s", error)
        if stop.wait(SWEEP):
            break
    for thread in threads:
        thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
