"""What is wrong with a folder of DAGs, found before anything runs: `airlane check`.

The folder is parsed by Airflow's own DagBag, in a process of its own with a temporary Airflow
home: no database, no server, nothing left behind, and what the DAG files import stays there.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from airflow_config import check_cache, dag_files, settings
from airflow_config.place import Place
from airflow_config.queues import Fleet, QueuesError

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

T = TypeVar("T")

#: Seconds that all DAG files together may take.
PARSE_TIMEOUT = 600

#: Whether a DAG is kept from being taken in.
Severity = Literal["error", "note"]

#: The fields of a problem that is a note.
Noted = tuple[str, int | None, str, Severity]

#: Characters of the child's output that are shown when it died.
_TAIL = 2_000


class ParseError(Exception):
    """The DAG files of a folder could not be parsed at all; the text says what was printed."""


@dataclass(frozen=True, order=True)
class Problem:
    """Something that keeps a DAG from being taken in, or that its author should know.

    Parameters
    ----------
    file
        The DAG file, relative to the folder's parent.
    line
        Where in it, or None when that is not known.
    message
        What was expected, what was found, how to put it right.
    severity
        `error`; or `note`: the DAG is taken in, with a value that was cut.
    """

    file: str
    line: int | None
    message: str
    severity: Severity = "error"

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {'note: ' if self.severity == 'note' else ''}{self.message}"


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


def check_dags(folder: Path, fleet: Fleet, *, cache: bool = False) -> list[Problem]:
    """Return everything that is wrong with the DAG files of a folder.

    Parameters
    ----------
    folder
        The DAG folder.
    fleet
        The queue model that its tasks must fit.
    cache
        Use what the last check found when nothing has changed, and keep what this one finds.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        return [Problem(str(folder), None, "expected a folder of DAGs, found none")]
    if cache and (kept := check_cache.load(folder, fleet)) is not None:
        return [Problem(*fields) for fields in kept]
    problems = {Problem(*fault) for fault in dag_files.faults(folder)}
    try:
        parsed = apart(_parse, folder, fleet)
    except ParseError as error:
        parsed = _Parsed([(folder.name, None, str(error))], whole=False)
    problems |= {Problem(*fault) for fault in parsed.found}
    ordered = sorted(problems, key=lambda found: (found.file, found.line or 0, found.message))
    if cache and parsed.whole:
        check_cache.store(folder, fleet, parsed.imported, [astuple(found) for found in ordered])
    return ordered


@dataclass(frozen=True)
class _Parsed:
    """What the child found, and from which files; not whole when it died."""

    found: Sequence[dag_files.Found | Noted]
    imported: Sequence[Path] = ()
    whole: bool = True


def apart(work: Callable[..., T], folder: Path, fleet: Fleet, *arguments: object) -> T:
    """Return what a function says that imports DAG files, run in a process of its own.

    Parameters
    ----------
    work
        Called with the folder, the queue model and `arguments`; found by its name in the child.
    folder, fleet
        The folder of DAGs, and the queue model whose settings the child reads.

    Raises
    ------
    ParseError
        When the child died or took too long; with the end of what it printed.
    """
    with tempfile.TemporaryDirectory(prefix="airlane-check-") as home:
        return _apart(work, folder.resolve(), fleet, Path(home), arguments)


def _apart(
    work: Callable[..., T], folder: Path, fleet: Fleet, home: Path, arguments: tuple[object, ...]
) -> T:
    config, output = home / "airflow.cfg", home / "output"
    values = settings.airflow_settings(fleet, _nowhere(folder, home), "worker")
    values["core"]["dags_folder"] = str(folder)
    config.write_text(settings.render_cfg(values), encoding="utf-8")
    with ProcessPoolExecutor(
        1, get_context("spawn"), initializer=_enter, initargs=(str(home), str(config), str(output))
    ) as pool:
        try:
            return pool.submit(work, str(folder), fleet, *arguments).result(PARSE_TIMEOUT)
        except (BrokenProcessPool, TimeoutError, SystemExit) as error:
            # Or the block's end would wait for a child that hangs.
            for child in list((pool._processes or {}).values()):
                child.kill()
            late = isinstance(error, TimeoutError)
            what = f"no end after {PARSE_TIMEOUT} s" if late else repr(error)
            said = output.read_text(errors="replace")[-_TAIL:] if output.exists() else ""
            message = f"expected DAG files that can be imported, found: {what}\n{said}"
            raise ParseError(message.strip()) from error


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


def dag_bag(folder: str) -> DagBag:
    """Return the DAGs of a folder, parsed as Airflow's processes parse them; for the child."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415 - after _enter

    # What a DAG file imports by a short name is found, and told by `dag_files.loaded_twice`.
    sys.path.append(folder)
    root = Path(folder)
    return DagBag(root, bundle_path=root, bundle_name="dags-folder")


def _parse(folder: str, fleet: Fleet) -> _Parsed:
    """Parse all DAG files and apply the policies; runs in the child."""
    from airflow_config import policies  # noqa: PLC0415 - after _enter
    from airflow_config.dag_lines import line_of_dag, line_of_task  # noqa: PLC0415
    from airflow_config.refusals import Refusal  # noqa: PLC0415

    root, bag = Path(folder), dag_bag(folder)
    found = [
        dag_files.import_fault(root, root / file, text) for file, text in bag.import_errors.items()
    ]
    notes: list[Noted] = []
    for dag in bag.dags.values():
        file = Path(dag.fileloc)
        name = dag_files.shown(root, file)
        notes += [
            (name, line_of_dag(file, dag.dag_id, cut.argument), str(cut), "note")
            for cut in policies.apply_to_dag(dag, fleet)
        ]
        for task in dag.tasks:
            try:
                cuts = policies.apply_to_task(task, fleet, refuse=True)
            except Refusal as refusal:
                found.append((name, refusal.line, refusal.message))
                continue
            notes += [
                (name, line_of_task(file, task.task_id, cut.argument), str(cut), "note")
                for cut in cuts
            ]
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    imported = [Path(file).resolve() for file in files if file]
    return _Parsed([*found, *dag_files.loaded_twice(root), *notes], imported)
