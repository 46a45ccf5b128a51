"""The peers' part of a result file: what was measured of each, or why nothing was."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_config.place import ROOT
from airflow_config.problems import nearest
from tests.benchmarks.peers import environment
from tests.benchmarks.peers.catalogue import PEERS
from tests.benchmarks.peers.chain import CASES, FULL, QUICK, measure
from tests.benchmarks.peers.environment import UnavailableError
from tests.benchmarks.peers.peer import Peer

#: Environments and data of all peers.
HOME = ROOT / ".airlane-bench" / "peers"


def chosen(names: Iterable[str]) -> list[Peer]:
    """Return the named peers, all of them for no name.

    Raises
    ------
    ValueError
        For a name that is none, with the nearest one.
    """
    names = list(names) or list(PEERS)
    for name in names:
        if name not in PEERS:
            near = nearest(name, PEERS)
            raise ValueError(f"expected a peer of {', '.join(PEERS)}, found {name!r}{near}")
    return [PEERS[name] for name in names]


def cases_of(name: str, *, quick: bool) -> tuple[str, ...]:
    """Return the cases that are measured of a peer unless others are asked for."""
    cases = (QUICK if quick else FULL).cases
    return tuple(case for case in cases if case not in PEERS[name].without)


def install(names: Iterable[str] = (), *, home: Path = HOME) -> dict[str, str]:
    """Make the environments; return what could not be installed, and why."""
    failed = {}
    for peer in chosen(names):
        try:
            environment.ensure(_environment(peer, home), peer.lock)
        except UnavailableError as error:
            failed[peer.name] = str(error)
    return failed


def run(
    names: Iterable[str] = (),
    *,
    quick: bool,
    progress: Callable[[str], None],
    home: Path = HOME,
    cases: tuple[str, ...] = (),
) -> dict[str, dict[str, Any]]:
    """Measure peers, one after another.

    Parameters
    ----------
    names
        Which; all for none.
    quick
        Fewer samples, and no worker is killed unless `cases` asks for it.
    progress
        Is told in a line what begins.
    home
        Environments are kept there; data and logs of the last measurement too.
    cases
        Which of `CASES`; all that the plan has for none.

    Returns
    -------
    dict
        Name to figures, in seconds. What could not be measured is None, and `note` says why.
    """
    home = home.resolve()
    plan = QUICK if quick else FULL
    results = {}
    for peer in chosen(names):
        folder = home / peer.name
        result: dict[str, Any] = {
            "version": None,
            "isolation": peer.isolation,
            "durability": peer.durability,
            **dict.fromkeys(CASES),
            "note": peer.note,
        }
        try:
            progress(f"{peer.name}: environment")
            with _alone(folder):
                python = environment.ensure(_environment(peer, home), peer.lock)
                result["version"] = environment.version(python, peer.package)
                # one by one: what was measured before a failure stays
                wanted = cases or cases_of(peer.name, quick=quick)
                result.update(measure(peer, python, folder / "data", plan, wanted, progress))
        except Exception as error:
            said = environment.without_addresses(str(error) or type(error).__name__)
            progress(f"{peer.name}: {said}")
            result["note"] += f" Not measured: {said}"
        results[peer.name] = result
    return results


def _environment(peer: Peer, home: Path) -> Path:
    return home / peer.folder.name / "venv"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second measurement in the same folder from ending the first one's processes."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnavailableError(
                f"expected to be alone in {folder.name}'s folder, found another measurement. "
                "Fix: wait for it, or name another folder (--home)"
            ) from None
        yield
