"""The peers' part of the benchmark, without a peer: what is read, said, started and stopped."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.benchmarks import peers
from tests.benchmarks.peers import environment, processes, results
from tests.benchmarks.peers.catalogue import PEERS
from tests.benchmarks.peers.chain import CASES, QUICK, STEPS, Measurement
from tests.benchmarks.peers.driver import Driver
from tests.benchmarks.peers.environment import UnavailableError
from tests.benchmarks.peers.peer import FOLDER, Peer
from tests.benchmarks.peers.processes import MARKER, Processes
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


def test_what_is_not_measured_is_none_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> Path:
        raise UnavailableError("not installable here: no wheel for this machine")

    monkeypatch.setattr(environment, "ensure", refuse)
    said: list[str] = []
    found = peers.run(["celery", "dbos"], quick=True, progress=said.append, home=tmp_path)
    assert list(found) == ["celery", "dbos"]
    for result in found.values():
        assert all(result[case] is None for case in CASES)
        assert result["version"] is None
        assert result["note"].endswith("no wheel for this machine")
    assert any("no wheel" in line for line in said)


def test_a_peer_whose_server_fails_does_not_keep_the_next_from_being_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measured(peer: Peer, *_: object) -> Any:
        if peer.name == "celery":
            raise OSError("no space left")
        yield "chain6_idle", {"n": 3}

    monkeypatch.setattr(environment, "ensure", lambda *_: Path(sys.executable))
    monkeypatch.setattr(environment, "version", lambda *_: "1")
    monkeypatch.setattr(results, "measure", measured)
    found = peers.run(["celery", "dbos"], quick=True, progress=lambda _: None, home=tmp_path)
    assert found["celery"]["note"].endswith("no space left")
    assert found["dbos"]["chain6_idle"] == {"n": 3}


def test_what_was_measured_before_a_failure_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measured(*_: object) -> Any:
        yield "chain6_idle", {"n": 3}
        raise UnavailableError("flood: no answer")

    monkeypatch.setattr(environment, "ensure", lambda *_: Path(sys.executable))
    monkeypatch.setattr(results, "measure", measured)
    result = peers.run(["celery"], quick=True, progress=lambda _: None, home=tmp_path)["celery"]
    assert result["chain6_idle"] == {"n": 3}
    assert result["chain6_flood_2000"] is None
    assert result["note"].endswith("flood: no answer")


def test_two_measurements_in_one_folder_do_not_end_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def again(*_: object) -> Path:
        raise UnavailableError(
            peers.run(["celery"], quick=True, progress=lambda _: None, home=tmp_path)["celery"][
                "note"
            ]
        )

    monkeypatch.setattr(environment, "ensure", again)
    result = peers.run(["celery"], quick=True, progress=lambda _: None, home=tmp_path)["celery"]
    assert "found another measurement" in result["note"]


# --- processes


@pytest.fixture
def parts(tmp_path: Path) -> Any:
    found = Processes(tmp_path)
    yield found
    found.stop()


def env(folder: Path) -> dict[str, str]:
    return {**os.environ, MARKER: str(folder)}


def start(parts: Processes, name: str, code: str) -> None:
    log = parts.log(name)
    parts.start(
        name, [sys.executable, "-uc", code], env(parts.folder), lambda: "ready" in log.read_text()
    )


FORKS = (
    "import subprocess, sys\n"
    "subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    "print('ready')\n"
    "import signal; signal.pause()"
)
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready'); signal.pause()"


def test_stopping_leaves_nothing_not_even_what_left_the_group(parts: Processes) -> None:
    start(parts, "forks", FORKS)
    start(parts, "deaf", DEAF)
    assert len(processes.leftovers(parts.folder)) == 3
    parts.stop()
    assert not processes.leftovers(parts.folder)


INTERRUPTED = """\
import os, signal, sys
from pathlib import Path
from tests.benchmarks.peers.processes import MARKER, Processes

# A shell starts what it runs in the background with interrupts ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
parts = Processes(Path(sys.argv[1]))
env = {**os.environ, MARKER: sys.argv[1]}
log = parts.log("part")
try:
    ready = lambda: "ready" in log.read_text()
    parts.start("part", [sys.executable, "-uc", sys.argv[2]], env, ready)
    print("started", flush=True)
    signal.pause()
finally:
    print("stopping", flush=True)
    parts.stop()
"""
#: Ends on the request only after a second, which it says.
SLOW = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('asked'), time.sleep(1), sys.exit()))\n"
    "print('ready')\n"
    "signal.pause()"
)


def test_an_impatient_second_interrupt_leaves_nothing_either(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    words = [sys.executable, "-c", INTERRUPTED, str(tmp_path), SLOW]
    with subprocess.Popen(
        words, cwd=request.config.rootpath, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"stopping\n"
        processes.wait_until(lambda: "asked" in (tmp_path / "part.log").read_text(), "asked", 60)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert not processes.leftovers(tmp_path)


def test_what_an_earlier_run_left_is_found_by_its_folder(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], env=env(tmp_path)) as left:
        assert [p.pid for p in processes.leftovers(tmp_path)] == [left.pid]
        processes.end_leftovers(tmp_path)
        assert left.poll() is not None


def test_a_killed_part_goes_with_its_children(parts: Processes) -> None:
    start(parts, "forks", FORKS)
    children = processes.leftovers(parts.folder)
    parts.kill(("forks",))
    psutil.wait_procs(children, timeout=30)
    assert not processes.leftovers(parts.folder)


def test_a_part_that_ends_at_once_says_its_last_words(parts: Processes) -> None:
    with pytest.raises(UnavailableError, match=r"broken ended \(3\): no broker"):
        start(parts, "broken", "print('no broker'); raise SystemExit(3)")


# --- the driver, with a program that stands in for a peer's

PROGRAM = """\
import lines, os, steps

def measure(run, order=range(1, steps.STEPS + 1)):
    print("a library talks")
    for number in order:
        steps.step(run, number)
    return 0.25

def doubled(run):
    return measure(run, [1, 1, 2, 3, 4, 5, 6])

def fails():
    raise OSError("refused by redis://u:p@127.0.0.1:1/0")

lines.serve(measure=doubled if os.environ.get("DOUBLED") else measure, fails=fails,
            dies=lambda: os._exit(1), flood=lambda count, seconds: None,
            waiting=lambda: int(os.environ.get("WAITING", "5")))
"""


class StackDouble:
    def __init__(self, folder: Path, **variables: str) -> None:
        (folder / "traces").mkdir()
        (folder / "program.py").write_text(PROGRAM)
        self.folder, self.python = folder, Path(sys.executable)
        self.env = {
            **os.environ,
            **variables,
            "PYTHONPATH": f"{folder}:{SHARED}",
            "PEER_TRACES": str(folder / "traces"),
        }


def measurement(stack: Any, driver: Driver) -> Measurement:
    return Measurement(PEERS["celery"], stack, driver, QUICK)


def test_a_chain_is_measured_and_its_steps_are_counted(tmp_path: Path) -> None:
    stack: Any = StackDouble(tmp_path)
    with Driver(stack) as driver:
        found = measurement(stack, driver)
        assert found.once() == 0.25
        assert [number for number, _pid in found.trace("run-00001")] == list(range(1, STEPS + 1))


def test_a_step_done_twice_is_no_result(tmp_path: Path) -> None:
    stack: Any = StackDouble(tmp_path, DOUBLED="1")
    with Driver(stack) as driver, pytest.raises(UnavailableError, match=r"found \[1, 1, 2"):
        measurement(stack, driver).once()


def test_a_flood_that_is_over_before_the_chains_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack: Any = StackDouble(tmp_path, WAITING="0")
    monkeypatch.setattr(Measurement, "chains", lambda _self: {"n": 1})
    with Driver(stack) as driver, pytest.raises(UnavailableError, match="batch tasks that wait"):
        measurement(stack, driver).flooded()


def test_an_error_of_the_program_comes_without_addresses_and_the_next_request_goes_on(
    tmp_path: Path,
) -> None:
    stack: Any = StackDouble(tmp_path)
    with Driver(stack) as driver:
        with pytest.raises(UnavailableError, match="refused by <address>"):
            driver.do("fails")
        assert driver.do("waiting") == 5


def test_a_program_that_ends_is_named(tmp_path: Path) -> None:
    stack: Any = StackDouble(tmp_path)
    with Driver(stack) as driver, pytest.raises(UnavailableError, match="the program ended"):
        driver.do("dies")
