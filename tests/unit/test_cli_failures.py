"""How commands fail: a message with expected, found and fix, an exit code, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy.exc

from airflow_config.place import ROOT
from deploy.local import stack
from tests.command_line import Airlane, runner_of


@pytest.fixture
def airlane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Airlane:
    """Run a command line on an instance of the test's own."""
    return runner_of(tmp_path / "home", monkeypatch, capsys)


def test_a_wrong_queues_file_is_named_by_line(
    airlane: Airlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "queues.yaml"
    file.write_text("queues: {}\nworker: {}\n")
    monkeypatch.setenv("AIRLANE_QUEUES", str(file))
    said = "expected one of queues, workers, found 'worker'; did you mean 'workers'?"
    started = airlane("up")
    assert started.code == 2
    assert f"{file}:2: worker: {said}" in started.err
    checked = airlane("check")
    assert checked.code == 1
    assert f"{file}:2: worker: {said}" in checked.err.splitlines()
    listed = airlane("check", "--json")
    assert (listed.code, listed.err) == (1, "")
    found = json.loads(listed.out)
    wrong = {"file": str(file), "line": 2, "message": f"worker: {said}", "severity": "error"}
    assert wrong in found
    assert len(found) == len(checked.err.splitlines())
    monkeypatch.delenv("AIRLANE_QUEUES")
    named = airlane("check", "--queues", str(file))
    assert (named.code, named.err) == (checked.code, checked.err)


def test_a_wrong_site_file_is_named_by_line(airlane: Airlane, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("port: {}\n")
    ended = airlane("up")
    assert ended.code == 2
    assert f"{tmp_path}/site.yaml:1:" in ended.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (stack.StackError("expected a, found b"), 1),
        (redis.exceptions.ConnectionError("refused"), 1),
        (redis.exceptions.TimeoutError("late"), 1),
        (redis.exceptions.NoPermissionError("no"), 1),
        (psycopg.OperationalError("refused\nmore"), 1),
        (sqlalchemy.exc.OperationalError("SELECT", {}, Exception("refused")), 1),
        (PermissionError(13, "Permission denied", "/x"), 2),
        (FileNotFoundError("expected one valkey-server"), 2),
        (OSError(28, "No space left on device"), 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_failure_is_a_traceback(
    airlane: Airlane, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(stack, "up", fail)
    ended = airlane("up")
    assert ended.code == code
    assert ended.err.startswith("airlane: expected ")
    assert ended.err.count("\n") == 1


def test_an_interrupted_start_says_what_runs(
    airlane: Airlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stack, "up", interrupt)
    ended = airlane("up")
    assert ended.code == 130
    assert "airlane up goes on with it" in ended.err
    monkeypatch.setattr(stack, "down", interrupt)
    monkeypatch.setattr("airlane.stack_commands.leftovers.find", lambda _folder: [1])
    ended = airlane("down")
    assert ended.code == 130
    assert "Traceback" not in ended.err


def test_text_that_no_server_takes_is_named(
    airlane: Airlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(*_: object) -> None:
        "\udcff".encode()

    monkeypatch.setattr(stack, "up", send)
    ended = airlane("up")
    assert (ended.code, ended.err) == (2, "airlane: expected text in UTF-8, found '\\udcff'\n")


@pytest.mark.parametrize("words", [("render", "--json"), ("render",), ("explain", "onboarding")])
def test_a_reader_that_has_had_enough_is_no_failure(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = [sys.executable, "-m", "airlane", *words]
    done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, check=False, cwd=ROOT)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_pipe_to_somebody_else_that_breaks_is_a_failure() -> None:
    program = (
        "from airlane import check_commands, cli\n"
        "def broken(*_, **__):\n"
        "    raise BrokenPipeError(32, 'Broken pipe')\n"
        "check_commands.checks.check_dags = broken\n"
        "import sys\n"
        "sys.argv = ['airlane', 'check']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "found: Broken pipe" in done.stderr


def test_a_letter_that_the_terminal_has_not_is_escaped(tmp_path: Path) -> None:
    file = tmp_path / "queues.yaml"
    file.write_text((ROOT / "queues.yaml").read_text().replace('"airlane_*"', '"höher*"'))
    done = subprocess.run(
        [sys.executable, "-m", "airlane", "explain", "control", "--queues", str(file)],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"h\\xf6her*" in done.stdout
