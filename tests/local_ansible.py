"""Ansible on this machine, with the project's settings and nothing of the caller's environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from airflow_config.place import ROOT

DEPLOY = ROOT / "deploy" / "ansible"


def run_playbook(commands: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook and return what it said, whatever its exit code.

    Parameters
    ----------
    commands
        Folder of Ansible's commands; modules run with the Python there.
    home
        Folder that takes the place of the user's.
    words
        Of the command line.
    """
    return subprocess.run(
        [str(commands / "ansible-playbook"), *words],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(DEPLOY / "ansible.cfg"),
            "ANSIBLE_PYTHON_INTERPRETER": str(commands / "python"),
            "ANSIBLE_NOCOLOR": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
