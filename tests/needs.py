"""What some tests need of the machine: a person who lacks it sees a skip, CI a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_config.place import ROOT


def need(condition: object, what: str) -> None:
    """Skip the test, or in CI fail it, unless a condition holds."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"expected {what}: CI runs these tests")
    pytest.skip(f"needs {what}")


def ansible_commands(name: str) -> Path:
    """Return the folder of Ansible's commands, an environment of its own; expect one in it."""
    folder = Path(os.environ.get("AIRLANE_ANSIBLE") or ROOT / ".venv-ansible" / "bin").resolve()
    need((folder / name).exists(), f"{name} in {folder} (make ansible)")
    return folder
