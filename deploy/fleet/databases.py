"""What a fleet's databases must hold before its parts start: `airlane fleet databases`.

Run as `python -m deploy.fleet.databases` in a process of its own, with the environment of a part of
the control plane: it needs Airflow's settings, and Airflow loads slowly. Started by root, it runs
as the control plane's user, so that nothing it makes belongs to root.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from airflow_config.place import ROOT
from deploy.files import write_private
from deploy.fleet.host import Host, here
from deploy.fleet.serving import check_rendered, environment

#: The control plane's user.
USER = "airlane"
#: What was done for this fleet, in the folder of the control plane.
_FILE = "prepared.json"
#: What comes before a change, and before what was done, on a line of its own.
_CHANGE, _DONE = "changed: ", "done: "


class PrepareError(Exception):
    """The databases could not be prepared; the text holds what was printed."""


def run(host: Host, caller: Mapping[str, str]) -> list[str]:
    """Prepare the databases in a process of its own; return what was changed, in words.

    Raises
    ------
    PrepareError
        With what it printed.
    """
    check_rendered(host, "scheduler")
    file = host.state("control") / _FILE
    variables = environment(host, "scheduler", "databases", caller)
    # where the child finds its secrets, and what was done before
    variables |= {"AIRLANE_FLEET": str(host.folder)}
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        identity = {"user": USER, "group": USER, "extra_groups": []}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.fleet.databases"],
        input=json.dumps(_read(file)),
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        **identity,
    )
    lines = done.stdout.splitlines()
    result = [line.removeprefix(_DONE) for line in lines if line.startswith(_DONE)]
    if done.returncode or not result:
        raise PrepareError(
            f"expected to prepare the databases, found exit code {done.returncode}:\n"
            f"{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )
    write_private(file, result[-1] + "\n")
    return [line.removeprefix(_CHANGE) for line in lines if line.startswith(_CHANGE)]


def pending(host: Host) -> list[str]:
    """Return what is known to be left to do, in words, without a look at the databases.

    Their migrations are found by running them alone; an upgrade brings those of Airflow and ours
    with another version of Airflow or another release.
    """
    done = _read(host.state("control") / _FILE)
    now, before = version("apache-airflow"), done.get("airflow")
    if now == before:
        return []
    return [f"would migrate Airflow's database: {before or 'none'} -> {now}"]


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        # everything is done again, which changes nothing that is right
        return {}
    return found if isinstance(found, dict) else {}


def main() -> None:
    """Prepare them; print a line for each change, and last what was done."""
    from deploy import databases  # noqa: PLC0415 - loads Airflow

    host = here()
    known = host.secrets("control")
    done = databases.prepare(
        metadata_url=host.place("control", known).airflow_db_url,
        owner_url=host.app_db_url("airlane_owner", known["airlane_owner"]),
        passwords=known,
        keep_slots=True,
        done=json.load(sys.stdin),
        say=lambda text: _say(_CHANGE + text),
    )
    _say(_DONE + json.dumps(done))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
