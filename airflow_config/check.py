"""What is wrong with a folder of DAGs, found before anything runs: `airlane check`.

The folder is parsed by Airflow's own DagBag, in a process of its own with a temporary Airflow
home: no database, no server, nothing left behind, and what the DAG files import stays there.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from airflow_config import dag_files, settings
from airflow_config.place import Place
from airflow_config.queues import Fleet, QueuesError

#: Seconds that all DAG files together may take.
PARSE_TIMEOUT = 600

#: Characters of the child's output that are shown when it died.
_TAIL = 2_000


@dataclass(frozen=True, order=True)
class Problem:
    """Something that keeps a DAG from being taken in.

    Parameters
    ----------
    file
        The DAG file, relative to the folder's parent.
    line
        Where in it, or None when that is not known.
    message
        What was expected, what was found, how to put it right.
    """

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.message}"


def queue_problems(error: QueuesError) -> list[Problem]:
    """Return what is wrong with queues.yaml in the form of what is wrong with DAG files."""
    problems = []
    for text in error.problems:
        located = re.fullmatch(r"(.+?):(\d+): (.*)", text, re.DOTALL)
        if located:
            problems.append(Problem(located[1], int(located[2]), located[3]))
        else:
            problems.append(Problem("queues.yaml", None, text))
    return problems


def check_dags(folder: Path, fleet: Fleet) -> list[Problem]:
    """Return everything that is wrong with the DAG files of a folder.

    Parameters
    ----------
    folder
        The DAG folder.
    fleet
        The queue model that its tasks must fit.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        return [Problem(str(folder), None, "expected a folder of DAGs, found none")]
    problems = {Problem(*fault) for fault in dag_files.faults(folder)}
    with tempfile.TemporaryDirectory(prefix="airlane-check-") as home:
        problems |= set(_parse_apart(folder, fleet, Path(home)))
    return sorted(problems, key=lambda problem: (problem.file, problem.line or 0, problem.message))


def _parse_apart(folder: Path, fleet: Fleet, home: Path) -> list[Problem]:
    config, output = home / "airflow.cfg", home / "output"
    values = settings.airflow_settings(fleet, _nowhere(folder, home), "worker")
    values["core"]["dags_folder"] = str(folder)
    config.write_text(settings.render_cfg(values), encoding="utf-8")
    with ProcessPoolExecutor(
        1, get_context("spawn"), initializer=_enter, initargs=(str(home), str(config), str(output))
    ) as pool:
        try:
            found = pool.submit(_parse, str(folder), fleet).result(PARSE_TIMEOUT)
        except (BrokenProcessPool, TimeoutError, SystemExit) as error:
            said = output.read_text(errors="replace")[-_TAIL:] if output.exists() else ""
            message = f"expected DAG files that can be imported, found: {error!r}\n{said}"
            return [Problem(folder.name, None, message.strip())]
    return [Problem(*fault) for fault in found]


def _nowhere(folder: Path, home: Path) -> Place:
    return Place(
        home=home,
        root=folder.parent,
        queues_file=home / "queues.yaml",
        airflow_home=home,
        logs=home / "logs",
        airflow_db_url="",
        broker_url="",
        result_url="",
        api_url="",
        api_port=0,
        fernet_key="",
        jwt_secret="",
        api_secret_key="",
    )


def _enter(home: str, config: str, output: str) -> None:
    """Prepare the child before it imports Airflow."""
    for name in [name for name in os.environ if name.startswith(("AIRFLOW", "_AIRFLOW"))]:
        del os.environ[name]
    os.environ.pop("AIRLANE_PART", None)
    os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW_CONFIG": config, "AIRLANE_CHECK": "1"}
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _parse(folder: str, fleet: Fleet) -> list[dag_files.Found]:
    """Parse all DAG files and apply the policies; runs in the child."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415 - after _enter
    from airflow.exceptions import AirflowClusterPolicyViolation  # noqa: PLC0415

    from airflow_config import policies  # noqa: PLC0415

    root = Path(folder)
    # As Airflow's processes have it; what a DAG file imports by a short name shows up below.
    sys.path.append(folder)
    bag = DagBag(root, bundle_path=root, bundle_name="dags-folder")
    found = [
        dag_files.import_fault(root, root / file, text) for file, text in bag.import_errors.items()
    ]
    for dag in bag.dags.values():
        policies.apply_to_dag(dag, fleet)
        for task in dag.tasks:
            try:
                policies.apply_to_task(task, fleet, refuse=True)
            except AirflowClusterPolicyViolation as error:
                file = Path(dag.fileloc)
                message = str(error).removeprefix(f"{file.name}: ")
                line = dag_files.line_of_value(file, message)
                found.append((dag_files.shown(root, file), line, message))
    return found + dag_files.loaded_twice(root)
