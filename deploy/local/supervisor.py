"""supervisord: keeps the parts running, restarts them with back-off, bounds their logs.

It is asked over its own XML-RPC interface on a Unix socket in the instance. The order of
starting and stopping, and readiness, are `stack`'s: supervisord starts nothing by itself.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shlex
import socket
import stat
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from airflow_config.place import ROOT
from deploy.local import leftovers
from deploy.local.caller import passed_on
from deploy.local.instance import Instance
from deploy.local.parts import Part

#: A Unix socket's path has at most 107 bytes on Linux; supervisord binds `PATH.PID` first, and a
#: process id has up to 7 digits.
_SOCKET_LIMIT = 107 - len(".4194304")
#: Seconds for an answer of supervisord: longer than the longest grace, for which a stop waits.
TIMEOUT = 60
#: Seconds in which supervisord must take requests once it has gone to the background.
_ANSWER_DEADLINE = 30
#: A start that lasts this many seconds counts as one; a shorter one is tried again, after a
#: wait that grows by a second each time.
_START_SECONDS = 3
_START_RETRIES = 30


class SupervisorError(Exception):
    """supervisord did not start or refused what it was asked; the text says what it printed."""


class RefusedError(SupervisorError):
    """supervisord understood the request and refused it; `reason` is its own word."""

    def __init__(self, reason: str, request: str) -> None:
        self.reason = reason
        super().__init__(f"expected supervisord to take {request}, found: {reason}")


class Supervisor:
    """The supervisor of one instance.

    Parameters
    ----------
    instance
        Whose parts it keeps.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._config = instance.run / "supervisord.conf"
        self._pid_file = instance.run / "supervisord.pid"

    @property
    def _socket(self) -> Path:
        path = self._instance.run / "supervisor.sock"
        if len(os.fsencode(path)) <= _SOCKET_LIMIT:
            return path
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        # not $TMPDIR, which may be another in the next shell
        folder = Path("/tmp") / f"airlane-{os.getuid()}-{digest}"  # noqa: S108 - looked at below
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise SupervisorError(
                f"expected {folder} to be a folder of ours, found one of user {found.st_uid}. "
                "Fix: have it removed, or a shorter AIRLANE_HOME"
            )
        return folder / "supervisor.sock"

    @property
    def config(self) -> Path:
        """The path of supervisord's settings."""
        return self._config

    def settings(self, parts: Iterable[Part]) -> str:
        """Return the text of supervisord's settings for these parts."""
        logs = self._instance.site.logs
        sections = [
            f"[unix_http_server]\nfile={self._socket}\nchmod=0700",
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory="
            "supervisor.rpcinterface:make_main_rpcinterface",
            "\n".join(
                (
                    "[supervisord]",
                    f"logfile={self._instance.logs / 'supervisord.log'}",
                    f"logfile_maxbytes={logs.max_mb}MB",
                    f"logfile_backups={logs.keep}",
                    f"pidfile={self._pid_file}",
                    f"directory={ROOT}",
                    "umask=077",
                    *(["user=root"] if os.geteuid() == 0 else []),
                )
            ),
            *(self._program(part) for part in parts if part.words),
        ]
        # supervisord expands %(name)s everywhere
        return "\n\n".join(section.replace("%", "%%") for section in sections) + "\n"

    def _program(self, part: Part) -> str:
        logs = self._instance.site.logs
        variables = {"AIRLANE_HOME": str(self._instance.folder), "AIRLANE_PART": part.name}
        variables |= part.environment
        environment = ",".join(f'{name}="{value}"' for name, value in variables.items())
        return "\n".join(
            (
                f"[program:{part.name}]",
                f"command={shlex.join(part.words)}",
                f"environment={environment}",
                f"directory={ROOT}",
                "autostart=false",
                "autorestart=true",
                f"startsecs={_START_SECONDS}",
                f"startretries={_START_RETRIES}",
                f"stopsignal={part.stop_signal}",
                f"stopwaitsecs={part.grace}",
                "killasgroup=true",
                "redirect_stderr=true",
                # the one value that supervisord expands twice
                f"stdout_logfile={str(self.log(part.name)).replace('%', '%%')}",
                f"stdout_logfile_maxbytes={logs.max_mb}MB",
                f"stdout_logfile_backups={logs.keep}",
            )
        )

    def log(self, part: str) -> Path:
        """Return the path of a part's log."""
        return self._instance.logs / f"{part}.log"

    def start(self) -> None:
        """Start supervisord itself; it goes to the background and starts no part.

        Raises
        ------
        SupervisorError
            With what it printed.
        """
        marker = {"AIRLANE_HOME": str(self._instance.folder), "AIRLANE_PART": "supervisor"}
        self._socket.unlink(missing_ok=True)
        words = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)]
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, cwd=ROOT, env=passed_on() | marker
        )
        if done.returncode:
            raise SupervisorError(
                f"expected supervisord to start, found exit {done.returncode} "
                f"({self._config}):\n{done.stdout}{done.stderr}"
            )
        # it goes to the background before it writes its process id
        end = time.monotonic() + _ANSWER_DEADLINE
        while self.pid() is None or not self.answers():
            if time.monotonic() > end:
                raise SupervisorError(
                    f"expected supervisord to answer within {_ANSWER_DEADLINE} s, found no answer "
                    f"at {self._socket}. Fix: airlane logs supervisord"
                )
            time.sleep(0.05)

    def pid(self) -> int | None:
        """Return supervisord's process id when it runs."""
        try:
            pid = int(self._pid_file.read_text())
            words = psutil.Process(pid).cmdline()
        except (OSError, ValueError, psutil.Error):
            return None
        return pid if str(self._config) in words else None

    def runs(self) -> bool:
        """Say whether supervisord has a process, also one that has taken its id's file away."""
        return any(
            leftovers.part_of(process) == "supervisor"
            for process in leftovers.find(self._instance.folder)
        )

    def _call(self, method: str, *arguments: Any) -> Any:
        with xmlrpc.client.ServerProxy(
            "http://localhost", transport=_UnixTransport(self._socket), allow_none=True
        ) as proxy:
            try:
                return getattr(proxy.supervisor, method)(*arguments)
            except xmlrpc.client.Fault as fault:
                raise RefusedError(fault.faultString, f"{method} {arguments}") from fault
            except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
                raise SupervisorError(
                    f"expected supervisord to answer at {self._socket}, found: {error}. "
                    "Fix: airlane down, airlane up"
                ) from error

    def answers(self) -> bool:
        """Say whether supervisord takes requests."""
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except SupervisorError:
            return False

    def states(self) -> dict[str, dict[str, Any]]:
        """Return supervisord's view of each part: `statename`, `pid`, `start`, `spawnerr`."""
        return {info["name"]: info for info in self._call("getAllProcessInfo")}

    def start_part(self, name: str) -> None:
        """Ask for a part to be started; nothing happens when it runs."""
        try:
            self._call("startProcess", name, False)
        except RefusedError as refused:
            if "ALREADY_STARTED" not in refused.reason:
                raise

    def stop_part(self, name: str, *, wait: bool = True) -> None:
        """Stop a part: its signal, its grace, then the kill; nothing happens when it is down."""
        try:
            self._call("stopProcess", name, wait)
        except RefusedError as refused:
            if "NOT_RUNNING" not in refused.reason:
                raise

    def reread(self) -> None:
        """Have supervisord read its settings again; what runs stays as it is."""
        self._call("reloadConfig")

    def add_part(self, name: str) -> None:
        """Make a part of the settings known, with what they say now; it is not started."""
        try:
            self._call("addProcessGroup", name)
        except RefusedError as refused:
            if "ALREADY_ADDED" not in refused.reason:
                raise

    def remove_part(self, name: str) -> None:
        """Forget a part that does not run; nothing happens when it is not known."""
        try:
            # one that is tried again and again would be refused
            self.stop_part(name)
            self._call("removeProcessGroup", name)
        except RefusedError as refused:
            if "BAD_NAME" not in refused.reason:
                raise

    def shutdown(self) -> None:
        """Ask supervisord to end; it stops the parts that still run, all at once."""
        self._call("shutdown")

    def remove_socket(self) -> None:
        """Remove what a supervisord that has ended leaves outside of the instance."""
        folder = self._socket.parent
        self._socket.unlink(missing_ok=True)
        if folder != self._instance.run:
            folder.rmdir()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        # where the base class looks for what it has to close
        self._connection = host, connection
        return connection
