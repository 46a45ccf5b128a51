"""Commands on an instance that is not there, does not run or is damaged; calls that are wrong."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from dags.packs import model_store
from deploy.local import stack
from deploy.local.instance import Instance
from deploy.local.site import Site
from tests import stored_models
from tests.command_line import Airlane, runner_of


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def airlane(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Airlane:
    """Run a command line on an instance of the test's own."""
    return runner_of(home, monkeypatch, capsys)


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
