"""What a DAG file's import may do to a process is found out in a process apart."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from workers import dag_probe


def bag(*queues: str) -> Any:
    tasks = [SimpleNamespace(queue=queue) for queue in queues]
    return SimpleNamespace(dags={"d": SimpleNamespace(tasks=tasks)}, import_errors={})


def raises() -> None:
    raise ValueError("no")


def exits() -> None:
    raise SystemExit(1)


PROGRAMS: dict[str, Any] = {
    "good": lambda: None,
    "raises": raises,
    "exits": exits,
    "dies": lambda: os._exit(3),
    "crashes": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "blocks": lambda: time.sleep(3600),
    "environment": lambda: os.environ.update(LEFT="behind"),
    "directory": lambda: os.chdir("/"),
    "mask": lambda: os.umask(0o123),
    "handler": lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
    "thread": lambda: threading.Thread(target=threading.Event().wait, daemon=True).start(),
    "file": lambda: os.open("/", os.O_RDONLY),
    "says": lambda: os.write(1, b"x" * 100_000),
    "last": lambda: None,
}


def run(path: str) -> Any:
    PROGRAMS[path]()
    return bag(path)


@pytest.fixture(scope="module")
def findings() -> dict[str, dag_probe.Finding]:
    found = dag_probe.probe(list(PROGRAMS), run, file_limit=2, total_limit=60)
    return {finding.path: finding for finding in found}


def test_every_file_is_told_of_in_order(findings):
    assert list(findings) == list(PROGRAMS)


@pytest.mark.parametrize("path", ["good", "says", "last"])
def test_a_harmless_file_tells_its_queues(findings, path):
    assert findings[path] == dag_probe.Finding(path, frozenset({path}))


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("raises", "ValueError: no"),
        ("exits", "SystemExit"),
        ("dies", "ends the process"),
        ("crashes", "ends the process"),
        ("blocks", "takes longer than 2 s"),
        ("environment", "changes: environment"),
        ("directory", "changes: working directory"),
        ("mask", "changes: umask"),
        ("handler", "changes: signal handlers"),
        ("thread", "changes: threads"),
        ("file", "changes: open files"),
    ],
)
def test_another_file_tells_its_fault_and_no_queue(findings, path, fault):
    assert fault in findings[path].fault
    assert not findings[path].queues


def test_this_process_is_left_as_it_was(findings):
    before = dag_probe.surroundings()
    dag_probe.probe(["environment", "dies"], run)
    assert dag_probe.changes(before, dag_probe.surroundings()) is None


def test_the_time_of_all_files_is_bounded():
    assert dag_probe.probe(["good"], run, total_limit=0) == []


def test_a_file_that_got_less_than_its_time_is_not_judged():
    assert dag_probe.probe(["good", "blocks"], run, file_limit=10, total_limit=2) == [
        dag_probe.Finding("good", frozenset({"good"}))
    ]
