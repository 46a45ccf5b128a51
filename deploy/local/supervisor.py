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
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from airflow_config.place import ROOT
from deploy.local import leftovers
from deploy.local.instance import Instance, write_private
from deploy.local.parts import Part

#: A Unix socket's path has at most 107 bytes on Linux.
_SOCKET_LIMIT = 107
#: A start that lasts this many seconds counts as one; a shorter one is tried again, after a
#: wait that grows by a second each time.
_START_SECONDS = 3
_START_RETRIES = 30

#: Variables of the caller that are passed on to the parts. Everything else stays outside: an
#: AIRFLOW__ variable of a shell must not change an instance.
_PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE")


class SupervisorError(Exception):
    """supervisord did not start or refused what it was asked; the text says what it printed."""


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
        folder = Path(tempfile.gettempdir()) / f"airlane-{os.getuid()}-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise SupervisorError(
                f"expected {folder} to be ours, found it owned by user {folder.stat().st_uid}"
            )
        return folder / "supervisor.sock"

    def write_config(self, parts: Iterable[Part]) -> None:
        """Write supervisord's settings for these parts."""
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
        text = "\n\n".join(section.replace("%", "%%") for section in sections)
        write_private(self._config, text + "\n")

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
                f"stdout_logfile={self.log(part.name)}",
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
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= {"AIRLANE_HOME": str(self._instance.folder), "AIRLANE_PART": "supervisor"}
        self._socket.unlink(missing_ok=True)
        words = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)]
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
        )
        if done.returncode:
            raise SupervisorError(f"supervisord did not start:\n{done.stdout}{done.stderr}")

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
            except (OSError, http.client.HTTPException) as error:
                raise SupervisorError(f"supervisord does not answer: {error}") from error

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
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise SupervisorError(f"{name}: {fault.faultString}") from fault

    def stop_part(self, name: str, *, wait: bool = True) -> None:
        """Stop a part: its signal, its grace, then the kill; nothing happens when it is down."""
        try:
            self._call("stopProcess", name, wait)
        except xmlrpc.client.Fault as fault:
            if "NOT_RUNNING" not in fault.faultString:
                raise SupervisorError(f"{name}: {fault.faultString}") from fault

    def shutdown(self) -> None:
        """Ask supervisord to end."""
        self._call("shutdown")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        # longer than the longest grace, for which a stop is awaited
        super().__init__("localhost", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:  # noqa: ARG002
        return _UnixConnection(self._path)
