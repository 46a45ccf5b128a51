"""What one peer runs on: real PostgreSQL and Valkey servers of its own, and its own parts."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from deploy.local import caller, valkey
from deploy.local import postgres as pg
from deploy.local.ports import free_port
from tests.benchmarks.peers.environment import UnavailableError, without_addresses
from tests.benchmarks.peers.processes import MARKER, READY, Processes, end_leftovers

_DATABASE = "peer"
_LOGIN = "peer"

#: Programs that every peer's environment may import.
SHARED = Path(__file__).resolve().parent / "shared"


class Stack:
    """A folder, two servers and the parts that a peer starts; a context, whose end ends all.

    Parameters
    ----------
    folder
        Emptied first; what an earlier run left running there is ended.
    python
        Of the peer's environment.
    programs
        The folder from which that Python imports the peer's programs.
    """

    def __init__(self, folder: Path, python: Path, programs: Path) -> None:
        self.folder = folder
        self.python = python
        self._processes = Processes(folder)
        self._restart: dict[str, Callable[[], None]] = {}
        self._password = secrets.token_urlsafe(16)
        self._postgres, self._valkey = free_port(), free_port()
        self.env = {
            **caller.passed_on(),
            "PATH": f"{python.parent}:{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": f"{programs}:{SHARED}",
            "PYTHONUNBUFFERED": "1",
            "DO_NOT_TRACK": "1",
            MARKER: str(folder),
            "PEER_REDIS": valkey.url(self._valkey, _LOGIN, self._password),
            "PEER_POSTGRES": self.postgres_url("postgresql"),
            "PEER_TRACES": str(folder / "traces"),
        }

    def __enter__(self) -> Stack:
        end_leftovers(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "traces").mkdir(parents=True)
        try:
            self._start_servers()
        except BaseException:
            self._processes.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.stop()
        # the logs stay; a flood's data would fill the disk
        shutil.rmtree(self.folder / "postgres", ignore_errors=True)
        shutil.rmtree(self.folder / "valkey", ignore_errors=True)

    def _start_servers(self) -> None:
        data = self.folder / "postgres"
        pg.initialise(data, self._password)
        self._processes.start(
            "postgres",
            pg.command(data, self._postgres),
            self.env,
            lambda: pg.answers(self._postgres, self._password),
            # TERM would await the last client
            stop=signal.SIGINT,
        )
        server = self.postgres_url("postgresql", "postgres")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {_DATABASE}")
        config = valkey.write_config(
            self.folder / "valkey",
            self._valkey,
            logins={_LOGIN: ["~*", "&*", "+@all"]},
            passwords={_LOGIN: self._password},
            # as airlane's own broker
            fsync="everysec",
        )
        self._processes.start(
            "valkey",
            [str(valkey.binary()), str(config)],
            self.env,
            lambda: valkey.answers(self.env["PEER_REDIS"]),
        )

    def postgres_url(self, scheme: str, database: str = _DATABASE) -> str:
        """Return the address of the peer's database; `scheme` names the driver."""
        return f"{scheme}://postgres:{self._password}@127.0.0.1:{self._postgres}/{database}"

    def free_port(self) -> int:
        """Return a port that nobody uses, nor will this stack's servers."""
        return free_port({self._postgres, self._valkey})

    def program(self, name: str, *words: str) -> list[str]:
        """Return the command line of a program of the peer's environment."""
        return [str(self.python.parent / name), *words]

    def start(self, name: str, words: list[str], ready: str | Callable[[], bool]) -> None:
        """Start a part and await that it is ready.

        Parameters
        ----------
        name
            Of the part and its log.
        words
            Its command line.
        ready
            What its log then says, or a condition.
        """

        def says() -> bool:
            return str(ready) in self._processes.log(name).read_text(errors="replace")

        condition = ready if callable(ready) else says

        def start() -> None:
            self._processes.start(name, words, self.env, condition)

        self._restart[name] = start
        start()

    def kill(self, names: tuple[str, ...]) -> None:
        """Kill parts with all that they started, without a chance to tidy up."""
        self._processes.kill(names)

    def restart(self, names: tuple[str, ...]) -> None:
        """Start parts again that were killed."""
        for name in names:
            self._restart[name]()

    def run(self, words: list[str], deadline: float = READY) -> str:
        """Run a command of the peer to its end and return what it printed."""
        done = subprocess.run(
            words,
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=deadline,
            check=False,
        )
        if done.returncode:
            said = without_addresses(done.stderr or done.stdout)[-600:]
            raise UnavailableError(f"{Path(words[0]).name} {words[1]} failed: {said}")
        return done.stdout


def answers(url: str) -> bool:
    """Say whether a server of ours answers an HTTP request with success now."""
    return get(url) is not None


def get(url: str) -> Any:
    """Return the JSON (or text) that a server of ours answers with; None when it does not."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - loopback, ours
            body = response.read().decode()
    except (urllib.error.URLError, OSError):
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body
