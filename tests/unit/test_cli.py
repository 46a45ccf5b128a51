"""How commands fail: a message with expected, found and fix, an exit code, never a traceback."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy.exc

from airflow_config.place import ROOT
from dags.packs import model_store
from deploy.local import stack
from deploy.local.instance import Instance
from deploy.local.site import Site
from tests import stored_models
from tests.command_line import Airlane, runner


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def airlane(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Airlane:
    """Run a command line on an instance of the test's own."""
    site = tmp_path / "site.yaml"
    site.touch()
    monkeypatch.setenv("AIRLANE_HOME", str(home))
    monkeypatch.setenv("AIRLANE_SITE", str(site))

    return runner(monkeypatch, capsys)


@pytest.fixture
def created(home: Path) -> Instance:
    """An instance that is made and does not run."""
    made = Instance(home, Site())
    made.create()
    return made


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "status --json",
        "logs relay",
        "env",
        "worker batch",
        "redis PING",
        "queues",
        "signup 7",
        "decisions",
        "dead list",
        "dead show 1-0",
        "dead replay --all",
    ],
)
def test_a_command_that_needs_an_instance_says_so(airlane: Airlane, home: Path, words: str) -> None:
    ended = airlane(*words.split())
    assert ended.code == 2
    assert ended.err.startswith(f"airlane: expected an instance in {home}, found none. Fix: ")
    assert not home.exists(), "looking must not make one"


def test_there_is_nothing_to_stop_or_delete(airlane: Airlane, home: Path) -> None:
    for command, said in (("down", "Nothing to stop"), ("reset", "Nothing to delete")):
        ended = airlane(command)
        assert ended.code == 0
        assert ended.out.startswith(f"{said}: no instance in")
    assert not home.exists()


def test_a_folder_is_named_as_it_is_called(
    airlane: Airlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("[red]a long name[/bold] " * 6).strip()
    monkeypatch.setenv("AIRLANE_HOME", str(folder))
    for command in ("down", "reset"):
        assert airlane(command).out.splitlines()[0].endswith(f"no instance in {folder}.")


def test_a_folder_that_is_no_instance_is_not_deleted(airlane: Airlane, home: Path) -> None:
    home.mkdir()
    (home / "letters.txt").write_text("dear")
    ended = airlane("reset", "--yes")
    assert ended.code == 2
    assert "found a folder without instance.json" in ended.err
    assert (home / "letters.txt").exists()


@pytest.mark.usefixtures("created")
def test_a_stack_that_does_not_run_is_stopped_in_every_part(airlane: Airlane) -> None:
    ended = airlane("status", "--json")
    assert ended.code == 1
    found = json.loads(ended.out)
    assert found["healthy"] is False
    assert {part["state"] for part in found["parts"]} == {"stopped"}
    assert {part["pid"] for part in found["parts"]} == {None}
    assert [part["name"] for part in found["parts"]][:3] == ["postgres", "broker", "events"]
    assert set(found["urls"]) == {"airflow", "flower"}
    assert airlane("status").code == 1
    assert airlane("down").code == 0


@pytest.mark.usefixtures("created")
@pytest.mark.parametrize(
    "words",
    [
        "redis PING",
        "redis --broker PING",
        "signup 7",
        "decisions",
        "dead list",
        "queues",
        "worker batch",
    ],
)
def test_a_stack_that_does_not_run_is_named(airlane: Airlane, words: str) -> None:
    ended = airlane(*words.split())
    assert ended.code == 1
    assert ended.err.startswith("airlane: expected ")
    assert "Fix: airlane status" in ended.err


@pytest.mark.usefixtures("created")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("logs shceduler", "did you mean 'scheduler'?"),
        ("worker bacth", "did you mean 'batch'?"),
        ("worker Batch", "expected a worker class of queues.yaml: onboarding, control, batch"),
    ],
)
def test_a_wrong_name_is_named_with_the_nearest(airlane: Airlane, words: str, said: str) -> None:
    ended = airlane(*words.split())
    assert ended.code == 2
    assert said in ended.err


@pytest.mark.usefixtures("created")
def test_calls_that_are_wrong_end_with_2(airlane: Airlane) -> None:
    for words in ("redis", "signup", "signup 7 --payload {", "dead replay", "logs", "upp", "up 3"):
        ended = airlane(*words.split())
        assert ended.code == 2, words
        assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("file", "text"), [("instance.json", "{"), ("secrets/keys.json", "[]"), ("instance.json", "")]
)
def test_a_damaged_instance_is_named(
    airlane: Airlane, created: Instance, file: str, text: str
) -> None:
    (created.folder / file).write_text(text)
    ended = airlane("status")
    assert ended.code == 2
    assert str(created.folder / file) in ended.err
    assert "Fix: " in ended.err


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


def test_what_to_try_next_is_a_model_first(
    airlane: Airlane, created: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "up", lambda *_: True)

    def first() -> str:
        lines = iter(airlane("up").out.splitlines())
        assert "Try next:" in lines
        return next(lines).strip()

    assert first().startswith("make up ")
    model_store.promote(
        created.models,
        stored_models.store(created.models, {}, {"metrics": {"auc": 0.7}}).name,
    )
    assert first().startswith(".venv/bin/airlane signup 7 --wait ")
    (created.models / "promoted.json").write_text("[]")
    assert "promoted.json: expected {'version': 'risk-N'}" in airlane("up").err


@pytest.mark.usefixtures("created")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["7", ""], "entity_id: expected printable text, found ''"),
        (["x" * 201], "entity_id: expected at most 200 bytes, found 201"),
        (["7", "--payload", "NaN"], "payload: expected JSON, found the number NaN"),
        (["7", "--payload", "1e300"], "payload: expected numbers of 64 bits"),
        (["7", "--payload", json.dumps("x" * 65_536)], "payload: expected at most 65536 bytes"),
        (["7", "--payload", "[" * 10_000], "expected JSON, found '[[["),
        (["7", "--payload", "[" * 40 + "]" * 40], "payload: expected at most 32 levels"),
    ],
)
def test_what_would_be_a_dead_letter_is_not_sent(
    airlane: Airlane, words: list[str], said: str
) -> None:
    ended = airlane("signup", *words)
    assert ended.code == 2
    text = " ".join(ended.err.replace("│", " ").split())
    assert said in text


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


def test_env_can_be_evaluated_and_marks_no_shell(
    tmp_path: Path, airlane: Airlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Instance(tmp_path / "a home, 100% $HOME", Site())
    made.create()
    monkeypatch.setenv("AIRLANE_HOME", str(made.folder))
    ended = airlane("env")
    assert ended.code == 0
    script = f"{ended.out}\nenv -0"
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": "/bin"}, capture_output=True, check=True
    )
    found = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert found["AIRLANE_HOME"] == str(made.folder)
    assert found["PGPASSFILE"] == str(made.folder / "secrets" / "pgpass")
    assert found["PATH"].endswith(":/bin")
    assert "AIRLANE_PART" not in found, "down would end the shell"
    shown = {name for name, key in made.keys.items() if key in ended.out}
    assert shown == {"events_producer"}, "only the login that an application is given"


@pytest.mark.usefixtures("created")
def test_a_workers_command_line_is_shown(airlane: Airlane) -> None:
    words = shlex.split(airlane("worker", "batch", "--show").out)
    assert words[:2] == ["nice", "-n"], "as the stack's own batch worker"
    assert words[4:8] == ["-m", "airflow", "celery", "worker"]
    assert words[words.index("--queues") + 1] == "onboarding,control,batch"


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
