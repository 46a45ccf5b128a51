"""The peers of the benchmark: what each says, is made of and needs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.benchmarks.peers import environment, results
from tests.benchmarks.peers.catalogue import PEERS
from tests.benchmarks.peers.chain import STEPS
from tests.benchmarks.peers.environment import UnavailableError
from tests.benchmarks.peers.peer import FOLDER, Peer
from tests.benchmarks.peers.stack import SHARED

LOCKS = sorted(FOLDER.glob("*/requirements.lock"))


PROGRAMS = sorted([*FOLDER.glob("*/program.py"), *SHARED.glob("*.py")])


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("peer", PEERS.values(), ids=list(PEERS))
def test_a_peer_says_what_it_isolates_and_what_it_keeps(peer: Peer) -> None:
    assert peer.isolation
    assert peer.durability
    assert peer.workers
    assert (peer.folder / "program.py").is_file()
    assert re.search(rf"^{peer.package}\b", (peer.folder / "requirements.in").read_text(), re.M)
    assert re.search(rf"^{peer.package}==", peer.lock.read_text(), re.M)


def test_every_folder_with_a_lock_is_a_peer() -> None:
    assert {lock.parent.name for lock in LOCKS} == {peer.folder.name for peer in PEERS.values()}


def test_a_variant_shares_the_environment_and_says_what_differs() -> None:
    base, variant = PEERS["dbos"], PEERS["dbos-poll-0.1s"]
    assert variant.lock == base.lock
    assert variant.settings
    assert variant.note != base.note


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.parent.name)
def test_a_lock_has_a_hash_for_each_package_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    blocks = re.split(r"^(?=\w)", text, flags=re.M)[1:]
    assert blocks
    assert all("--hash=sha256:" in block for block in blocks)


def test_celery_is_the_version_that_airlane_runs_on(request: pytest.FixtureRequest) -> None:
    project = tomllib.loads((request.config.rootpath / "pyproject.toml").read_text())
    ours = next(d for d in project["project"]["dependencies"] if d.startswith("celery"))
    assert ours in PEERS["celery"].folder.joinpath("requirements.in").read_text()


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_peers_program_needs_nothing_of_the_project(path: Path) -> None:
    ours = {"tests", "airlane", "airflow_config", "deploy", "intake", "workers", "dags", "airflow"}
    assert not imported(path) & ours


def test_the_shared_programs_need_the_standard_library_alone() -> None:
    for path in SHARED.glob("*.py"):
        assert imported(path) <= sys.stdlib_module_names


def test_the_chain_has_as_many_steps_for_who_runs_it_as_for_who_counts_them() -> None:
    assert f"STEPS = {STEPS}\n" in (SHARED / "steps.py").read_text()


def test_no_name_means_all_and_a_wrong_one_is_refused() -> None:
    assert [peer.name for peer in results.chosen([])] == list(PEERS)
    with pytest.raises(ValueError, match="did you mean 'celery'"):
        results.chosen(["celry"])


def test_addresses_are_kept_out_of_results() -> None:
    said = "GET https://packages.example/simple/x (redis://u:secret@127.0.0.1:1/0) failed"
    assert environment.without_addresses(said) == "GET <address> (<address>) failed"


def test_an_environment_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("no-such-package-of-airlane @ file:///nowhere\n")
    with pytest.raises(UnavailableError, match=r"not installable here \(uv pip\)") as caught:
        environment.ensure(tmp_path / "venv", lock)
    assert "://" not in str(caught.value)


def test_an_environment_is_made_once_for_a_lock(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("")
    python = environment.ensure(tmp_path / "venv", lock)
    assert (tmp_path / ".gitignore").read_text() == "*\n"
    trace = tmp_path / "venv" / "trace"
    trace.touch()
    assert environment.ensure(tmp_path / "venv", lock) == python
    assert trace.exists()
    lock.write_text("# anew\n")
    environment.ensure(tmp_path / "venv", lock)
    assert not trace.exists()
