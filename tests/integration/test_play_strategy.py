"""How playbooks reach hosts: through Mitogen, and without it where it is missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.local_ansible import DEPLOY
from tests.needs import ansible_commands

LOADED = """
import sys
{first}
from ansible import constants
from ansible.plugins.loader import init_plugin_loader, strategy_loader
init_plugin_loader()
plugin = strategy_loader.get(constants.DEFAULT_STRATEGY, class_only=True)
print(*{{base.__module__ for base in plugin.__mro__}})
"""


@pytest.fixture(scope="module")
def ansible() -> Path:
    """Folder of the commands of Ansible."""
    return ansible_commands("ansible-playbook")


@pytest.mark.parametrize(
    ("first", "is_by_mitogen"),
    [
        pytest.param("", True, id="installed"),
        pytest.param("sys.modules['ansible_mitogen'] = None", False, id="missing"),
    ],
)
def test_plays_go_through_mitogen_where_it_is(
    ansible: Path, tmp_path: Path, first: str, is_by_mitogen: bool
) -> None:
    done = subprocess.run(
        [str(ansible / "python"), "-c", LOADED.format(first=first)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(DEPLOY / "ansible.cfg"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    bases = done.stdout.split()
    assert "ansible.plugins.strategy.linear" in bases
    assert ("ansible_mitogen.strategy" in bases) is is_by_mitogen
