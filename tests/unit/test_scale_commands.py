"""`airlane scale`: the words that reach ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_config.place import ROOT

#: In the place of ansible-playbook: says where it is and what it was told, and fails as one can.
_PLAYBOOK = """\
#!/bin/sh
pwd
printf '%s\\n' "$@"
exit 4
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    folder = tmp_path / "inventory"
    folder.mkdir()
    return folder


def scale(tmp_path: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call it in a process of its own, which ansible-playbook then takes the place of."""
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    code = (
        "from pathlib import Path; from airlane import cli, scale_commands; "
        f"scale_commands._ANSIBLE = Path({str(tmp_path / 'bin')!r}); cli.main()"
    )
    return subprocess.run(
        [sys.executable, "-c", code, "scale", *words],
        cwd=ROOT,
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    file = tmp_path / "bin" / "ansible-playbook"
    file.parent.mkdir()
    file.write_text(_PLAYBOOK)
    file.chmod(0o755)
    return file


@pytest.mark.usefixtures("playbook")
def test_the_playbook_is_told_what_was_asked_for(tmp_path: Path, inventory: Path) -> None:
    said = scale(
        tmp_path,
        "batch",
        "5",
        "-i",
        str(inventory),
        "--hosts-in",
        "w4",
        "--hosts-out",
        "w2, w7",
        "--check",
    )
    folder, *words, wanted, check = said.stdout.splitlines()
    assert folder == str(ROOT / "deploy" / "ansible")
    assert words == ["-i", str(inventory), "playbooks/scale.yml", "-e"]
    assert json.loads(wanted) == {
        "class": "batch",
        "count": 5,
        "hosts_in": "w4",
        "hosts_out": "w2, w7",
    }
    assert check == "--check"
    assert said.returncode == 4, "the playbook's own"


@pytest.mark.usefixtures("playbook")
def test_the_inventory_may_stand_in_the_environment(tmp_path: Path, inventory: Path) -> None:
    said = scale(tmp_path, "batch", "5", ANSIBLE_INVENTORY=str(inventory))
    assert said.stdout.splitlines()[1:] == [
        *("-i", str(inventory), "playbooks/scale.yml", "-e", '{"class": "batch", "count": 5}'),
    ]


@pytest.mark.usefixtures("playbook")
def test_an_inventory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    said = scale(tmp_path, "batch", "5", "-i", str(tmp_path / "none"))
    assert said.returncode == 2
    assert "expected an inventory" in said.stderr
    assert said.stdout == ""


def test_without_ansible_it_says_how_to_get_it(tmp_path: Path, inventory: Path) -> None:
    said = scale(tmp_path, "batch", "5", "-i", str(inventory), PATH=str(tmp_path))
    assert said.returncode == 2
    assert "Fix: make ansible" in said.stderr
