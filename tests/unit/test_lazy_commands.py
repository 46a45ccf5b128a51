"""A command loads what it needs: playbooks and units start airlane again and again."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer

from airflow_config.place import ROOT
from airlane import cli

_MODULES = sorted(path.stem for path in (ROOT / "airlane").glob("*_commands.py"))


@pytest.mark.parametrize("module", _MODULES)
def test_every_command_of_a_module_is_listed(module: str) -> None:
    part = typer.Typer()
    part.callback()(lambda: None)
    import_module(f"airlane.{module}").register(part)
    registered = set(typer.main.get_group(part).commands)
    assert registered == {name for name, found in cli.MODULES.items() if found == module}


@pytest.mark.parametrize("name", [*cli.EXIT_CODES, *cli.SERVER_ERRORS])
def test_every_error_that_is_named_exists(name: str) -> None:
    module, _, kind = name.rpartition(".")
    found = getattr(import_module(module), kind)
    assert issubclass(found, Exception)
    assert f"{found.__module__}.{found.__qualname__}" == name


@pytest.mark.parametrize(
    ("words", "needless"),
    [
        (("fleet", "facts"), {"celery", "httpx", "psycopg", "redis", "sqlalchemy", "airflow"}),
        (("explain", "batch"), {"celery", "httpx", "psycopg", "redis", "sqlalchemy", "airflow"}),
        (("render",), {"celery", "httpx", "psycopg", "redis", "sqlalchemy", "airflow"}),
        (("check",), {"celery", "httpx", "psycopg", "redis", "sqlalchemy", "airflow"}),
        (("workers",), {"celery", "httpx", "psycopg", "sqlalchemy", "airflow"}),
        (
            ("fleet", "render", "control"),
            {"celery", "httpx", "psycopg", "redis", "sqlalchemy", "airflow"},
        ),
    ],
)
def test_a_command_of_playbooks_loads_no_client_that_it_has_no_use_for(
    words: tuple[str, ...], needless: set[str], tmp_path: Path
) -> None:
    (tmp_path / "site.yaml").touch()
    program = (
        "import sys\n"
        "from airlane import cli\n"
        "try:\n"
        "    cli.main()\n"
        "finally:\n"
        f"    print('loaded:', *sorted({needless} & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"AIRLANE_FLEET": str(tmp_path), "AIRLANE_HOME": str(tmp_path), "PATH": ""},
    )
    assert done.stdout.splitlines()[-1] == "loaded:", done.stdout + done.stderr
