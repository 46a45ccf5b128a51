"""What a unit of systemd runs: a part's command line and its environment.

`airlane serve PART` becomes that part (execve), so that systemd's main process is the part itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from airflow_config import queues, release
from airflow_config.place import ROOT
from airflow_config.problems import expected_one_of
from airflow_config.queues import Fleet
from deploy import programs
from deploy.fleet.host import Host
from deploy.fleet.secrets import Role
from workers import finished_logs
from workers.command import part_name, worker_command

#: What a part takes over from its unit; everything else stays outside.
_PASSED_ON = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONFAULTHANDLER"),
    # the file that takes a worker off duty (workers.duty)
    "AIRLANE_OFF_DUTY",
    # sd_notify(3): without them systemd never hears that the part is ready
    *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"),
    # folders of the unit's own
    *("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "CREDENTIALS_DIRECTORY"),
)

#: Part -> the role whose files it reads.
PARTS: Mapping[str, Role] = {
    "scheduler": "control",
    "api-server": "control",
    "batch-api": "control",
    "dag-processor": "control",
    "triggerer": "control",
    "relay": "relay",
    "worker": "worker",
    "flower": "flower",
    "log-server": "logs",
    "log-shipper": "logs",
}
#: Part -> the secrets that the intake reads in it.
_SECRETS = {"triggerer": "intake", "relay": "relay", "worker": "worker"}


class ServeError(Exception):
    """A part can't be run on this host as it is; the text says what to do."""


@dataclass(frozen=True)
class Program:
    """A part as it is run.

    Parameters
    ----------
    words
        Its command line.
    environment
        All of its environment; holds no secret.
    """

    words: list[str]
    environment: dict[str, str] = field(repr=False)


def program(
    host: Host, fleet: Fleet, part: str, class_name: str | None, caller: Mapping[str, str]
) -> Program:
    """Return what a part runs.

    Parameters
    ----------
    host
        This host.
    fleet
        The queue model as it was rendered for the part's role.
    part
        One of `PARTS`.
    class_name
        Of a worker; None for other parts.
    caller
        The environment of whoever starts it.

    Raises
    ------
    ServeError
        When there is no such part or worker class, or nothing was rendered for its role.
    """
    check_part(part)
    if part == "worker":
        if class_name is None:
            raise ServeError("expected the class of the worker, found none. Fix: --class CLASS")
        if class_name not in fleet.workers:
            raise ServeError(
                f"--class: {expected_one_of(fleet.workers, class_name)}\nFix: name a class of "
                f"{host.started_queues('worker')}, or render the role anew"
            )
    elif class_name is not None:
        raise ServeError(f"expected --class with the part worker only, found it with {part}")
    name = part_name(class_name) if class_name else part
    return Program(
        words=_words(host, fleet, part, class_name, caller),
        environment=environment(host, part, name, caller),
    )


def rendered_fleet(host: Host, part: str) -> Fleet:
    """Return the queue model that a part reads: the copy of its role, where it has one."""
    copy = host.started_queues(PARTS[part])
    return queues.load(copy if copy.exists() else host.queues_file)


def check_part(part: str) -> None:
    """Make sure that there is such a part.

    Raises
    ------
    ServeError
        Naming those that there are.
    """
    if part not in PARTS:
        raise ServeError(f"PART: {expected_one_of(PARTS, part)}")


def _words(
    host: Host, fleet: Fleet, part: str, class_name: str | None, caller: Mapping[str, str]
) -> list[str]:
    if class_name is not None:
        return worker_command(fleet, class_name)
    # the others are jobs of Airflow
    own = _OWN.get(part)
    return own(host, caller) if own else programs.job(part)


def _log_server(host: Host) -> list[str]:
    where = ("--host", host.site.address, "--port", str(host.site.logs.port))
    return [sys.executable, "-m", "workers.log_server", *where]


def _log_shipper(host: Host) -> list[str]:
    file = host.state("logs") / "shipping.json"
    return [sys.executable, "-m", "deploy.fleet.log_shipper", str(file)]


def runtime_folder(caller: Mapping[str, str]) -> Path:
    """Return the folder that systemd made for this unit (`RuntimeDirectory=`)."""
    # several are parted by colons
    named = caller.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(named or "/run/airlane")


_OWN: Mapping[str, Callable[[Host, Mapping[str, str]], list[str]]] = {
    "api-server": lambda host, _: programs.api_server(host.site.api.port, proxied=True),
    "batch-api": lambda host, _: programs.api_server(
        host.site.api.batch_port, only_execution=True, proxied=True
    ),
    "relay": lambda _, caller: programs.relay(runtime_folder(caller) / "heartbeat"),
    "flower": lambda host, _: programs.flower(host.state("flower") / "flower.py"),
    "log-server": lambda host, _: _log_server(host),
    "log-shipper": lambda host, _: _log_shipper(host),
}


def environment(host: Host, part: str, name: str, caller: Mapping[str, str]) -> dict[str, str]:
    """Return all that a part has in its environment.

    Parameters
    ----------
    host
        This host.
    part
        One of `PARTS`.
    name
        What it is called; tells a worker its class.
    caller
        The environment of whoever starts it.
    """
    role, site = PARTS[part], host.site
    found = {key: caller[key] for key in _PASSED_ON if key in caller}
    found |= {
        "AIRLANE_HOME": str(site.folders.state),
        "AIRLANE_PART": name,
        release.VARIABLE: release.current(),
        "AIRLANE_MODELS": str(site.folders.models),
        "AIRLANE_QUEUES": str(host.started_queues(role)),
        "AIRFLOW_HOME": str(host.airflow_home(role)),
        "AIRFLOW_CONFIG": str(host.airflow_config(role)),
        # This release's, also when the link to the current one leads to another by now.
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "PYTHONPATH": str(ROOT),
        # What is printed is in the journal at once.
        "PYTHONUNBUFFERED": "1",
        # asyncpg takes it from here alone; see deploy.fleet.addresses.
        "PGSSLROOTCERT": str(site.tls.ca),
        "PGSSLMODE": "verify-full",
        **site.intake.environment(),
    }
    if part != "worker":
        # libpq looks for a certificate in it, and fails where it may not look (ProtectHome=).
        # Tasks keep the unit's: their libraries write there.
        found["HOME"] = str(host.state(role))
    if part in _SECRETS:
        found["AIRLANE_SECRETS"] = str(host.state(role) / "secrets" / _SECRETS[part])
    if part == "batch-api":
        found |= programs.ONLY_EXECUTION
    if part == "worker":
        found |= programs.ONE_THREAD
        found[finished_logs.VARIABLE] = str(host.outbox)
        if site.api.batch_url:
            found["AIRLANE_BATCH_API"] = f"{site.api.batch_url}/execution/"
    return found


def check_rendered(host: Host, part: str) -> None:
    """Make sure that a part's files are there and can be read by who starts it.

    Raises
    ------
    ServeError
        Naming the file and the way out.
    """
    check_part(part)
    role = PARTS[part]
    wanted = {
        "relay": host.state(role) / "secrets" / "relay" / "events_url",
        "log-shipper": host.state(role) / "shipping.json",
        "flower": host.state(role) / "flower.py",
    }.get(part, host.airflow_config(role))
    try:
        with wanted.open("rb"):
            return
    except OSError as error:
        raise ServeError(
            f"expected {wanted} to be there and readable by this user, found: {error.strerror}. "
            f"Fix: airlane fleet render {role}, as root; or run {part} as the user of its unit"
        ) from None


def become(wanted: Program) -> None:
    """Turn this process into a part; does not return."""
    os.chdir(ROOT)
    # Task logs are shared through a group: who ships them takes them out of their folders. Airflow
    # sets the modes of the files itself.
    os.umask(0o007)
    os.execve(wanted.words[0], wanted.words, wanted.environment)  # noqa: S606
