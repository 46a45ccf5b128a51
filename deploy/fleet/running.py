"""Whether a part of this host does its work, and whether it runs what it should.

Asked by `airlane fleet part`: systemd's `active` says no more than that there is a process.
Playbooks ask again and again: only the client that a part's answer takes is loaded.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from airflow_config import release
from airflow_config.place import for_psycopg
from airflow_config.queues import Fleet
from deploy.fleet import notes
from deploy.fleet.host import Host
from workers.command import node_name, part_name

#: Airflow's names of the jobs in its table.
_JOBS = {
    "scheduler": "SchedulerJob",
    "triggerer": "TriggererJob",
    "dag-processor": "DagProcessorJob",
}
_PROPERTIES = ("ActiveState", "Result", "NRestarts", "MainPID")
#: Seconds for an answer of a server.
_TIMEOUT = 5
#: Seconds in which systemctl answers.
_SYSTEMCTL = 30
#: Seconds within which a job must have given a sign of life: several of its beats.
_BEAT = 30

# Of this host: the API server's health tells of the newest job, wherever it runs.
_JOB = """
SELECT count(*) FROM job
WHERE job_type = %(kind)s AND hostname = %(host)s AND state = 'running'
    AND start_date >= to_timestamp(%(since)s)
    AND latest_heartbeat > now() - make_interval(secs => %(beat)s)
"""

Run = Callable[[list[str]], str]


@dataclass(frozen=True)
class PartState:
    """A part as `airlane fleet part` shows it.

    Parameters
    ----------
    part, unit
        Its name, and that of its unit.
    stale
        Why it must be started anew: `not running`, `release`, `settings`, `unit`.
    ready
        Whether it does its work: its own answer, since it was started.
    restarts
        How often systemd has started it by itself.
    on_duty
        Whether it is to take work; always for what is no worker.
    found
        What was found, in words.
    """

    part: str
    unit: str
    stale: list[str]
    ready: bool
    restarts: int
    on_duty: bool
    found: str

    def to_json(self) -> dict[str, Any]:
        """Return what `airlane fleet part --json` prints."""
        return asdict(self)


def state(
    host: Host, fleet: Fleet, part: str, class_name: str | None, run: Run | None = None
) -> PartState:
    """Ask systemd, the part's own note, and the part.

    Parameters
    ----------
    host
        This host.
    fleet
        The queue model as it was rendered for the part's role.
    part, class_name
        Which; a class for a worker alone.
    run
        Runs systemctl and returns what it printed; for tests.
    """
    unit = notes.unit_name(part, class_name)
    shown = show(unit, _PROPERTIES, run or systemctl)
    active = shown.get("ActiveState", "unknown")
    restarts = int(shown.get("NRestarts") or 0)
    wanted = notes.note(host, fleet, part, class_name)
    runs = notes.read(notes.folder(part, class_name))
    # a note of another process is one that ended; the one after it has not come so far
    if runs is not None and str(runs.pid) != shown.get("MainPID"):
        runs = None
    if active not in {"active", "activating", "reloading"}:
        stale, ready = ["not running"], False
        found = f"{unit} is {active} ({shown.get('Result', 'unknown')})"
    elif runs is None:
        stale, ready = [], False
        found = f"{unit} is {active}, {restarts} restarts; it has not noted what it runs yet"
    else:
        stale = notes.differences(runs, wanted)
        ready, answer = False, f"{unit} starts"
        if active == "active":
            ready, answer = _answer(host, fleet, part, class_name, runs.started)
        found = f"{answer}; release {runs.release}, {restarts} restarts"
    return PartState(
        part=part,
        unit=unit,
        stale=stale,
        ready=ready,
        restarts=restarts,
        on_duty=is_on_duty(host, class_name),
        found=found,
    )


def is_on_duty(host: Host, class_name: str | None) -> bool:
    """Tell whether a worker of this host is to take work; see `workers.duty`."""
    return not class_name or not (host.state("worker") / class_name / "off-duty").exists()


class SystemdError(Exception):
    """Systemd did not answer; the text says what it said instead."""


def systemctl(words: list[str]) -> str:
    """Run a command line of systemctl and return what it printed.

    Raises
    ------
    SystemdError
        When it does not answer: nothing is known of any unit then.
    """
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=_SYSTEMCTL
        )
        said = "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if said:
        raise SystemdError(
            f"expected systemd to tell of this host's units, found: {said}. Fix: systemctl status, "
            "as root; is this a host of a fleet?"
        )
    return done.stdout


def show(unit: str, properties: Iterable[str], run: Run, *options: str) -> dict[str, str]:
    """Return what systemd says of a unit: property -> value; what it does not know is left out.

    Parameters
    ----------
    unit, properties
        Which unit, and what of it.
    run
        Runs systemctl and returns what it printed.
    options
        Further words for `systemctl show`.
    """
    named = (f"--property={name}" for name in properties)
    text = run(["systemctl", "show", unit, *options, *named])
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _answer(
    host: Host, fleet: Fleet, part: str, class_name: str | None, since: float
) -> tuple[bool, str]:
    """Ask a part itself; return whether it does its work, and that in words."""
    if part == "worker":
        return _worker(host, fleet, str(class_name))
    if part in _JOBS:
        return _job(host, part, since)
    good = _probe(host, part, since)
    return good, f"{part} {'answers' if good else 'does not answer'}"


def _probe(host: Host, part: str, since: float) -> bool:
    from deploy import probes  # noqa: PLC0415

    here = "http://127.0.0.1"
    site = host.site
    match part:
        case "api-server":
            return probes.api_server_answers(f"{here}:{site.api.port}")
        case "batch-api":
            return probes.execution_api_answers(f"{here}:{site.api.batch_port}")
        case "flower":
            path = f"/{site.flower.path}" if site.flower.path else ""
            return probes.flower_answers(f"{here}:{site.flower.port}{path}")
        case "relay":
            return probes.relay_beats(notes.folder("relay", None) / "heartbeat", since)
        case "log-server":
            return probes.log_server_listens(site.address, site.logs.port)
        case "log-shipper":
            return True  # a keeper that is away is no fault of it
    raise ValueError(part)


def _worker(host: Host, fleet: Fleet, class_name: str) -> tuple[bool, str]:
    import redis  # noqa: PLC0415

    from airflow_config import live_workers  # noqa: PLC0415

    name = node_name(part_name(class_name), socket.gethostname())
    address = host.broker_url("airflow", host.secrets("worker")["broker_airflow"])
    try:
        with live_workers.connect(address, _TIMEOUT) as broker:
            entry = next((w for w in live_workers.read(broker) if w.name == name), None)
    except redis.RedisError as error:
        return False, f"the broker does not answer: {error}"
    if entry is None:
        return False, f"{name} is not in the registry of live workers"
    # A worker that is off duty consumes none of its class's queues, and that is as it should be.
    wanted = set(fleet.consumes(class_name)) if is_on_duty(host, class_name) else set()
    good = entry.release == release.current() and wanted <= set(entry.queues)
    queues = ", ".join(entry.queues) or "nothing"
    return good, f"{name} consumes {queues} with release {entry.release}"


def _job(host: Host, part: str, since: float) -> tuple[bool, str]:
    import psycopg  # noqa: PLC0415

    known = host.secrets("control")
    address = for_psycopg(host.place("control", known).airflow_db_url)
    words = {
        "kind": _JOBS[part],
        "host": socket.gethostname(),
        # a second for clocks that differ
        "since": since - 1,
        "beat": _BEAT,
    }
    try:
        with psycopg.connect(address, connect_timeout=_TIMEOUT) as connection:
            row = connection.execute(_JOB, words).fetchone()
    except psycopg.Error as error:
        return False, f"the metadata database does not answer: {str(error).strip()}"
    good = bool(row and row[0])
    return good, f"the job of {part} on this host {'beats' if good else 'has not beaten so far'}"
