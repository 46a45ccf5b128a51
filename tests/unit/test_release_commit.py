"""Which commit a release is made from: a change of queues.yaml alone is not another release."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from airflow_config.place import ROOT

SCRIPT = ROOT / "deploy" / "ansible" / "roles" / "release" / "files" / "describe_commit.sh"


class Checkout:
    """A repository with what the script reads of one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._run("git", "init", "-q", "-b", "main")
        files = {
            "pyproject.toml": '[project]\nversion = "1.2"\n',
            "requirements.lock": "a==1\n",
            "queues.yaml": "queues: {}\n",
            "dags/packs/queues.yaml": "a pack's own\n",
        }
        self.code = self.commit(**files)

    def _run(self, *words: str) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        return subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, check=True
        ).stdout

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, **files: str) -> str:
        self.write(**files)
        self._run("git", "add", "-A")
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        self._run("git", *who, "commit", "-q", "-m", "change")
        return self._run("git", "rev-parse", "HEAD").strip()

    def describe(self, ref: str = "HEAD") -> tuple[str, list[str]]:
        """Return the commit and what is not committed."""
        lines = self._run("/bin/sh", str(SCRIPT), str(self.folder), ref).splitlines()
        assert lines[2] == "1.2"
        return lines[0], lines[3:]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


def test_a_commit_of_the_queue_model_alone_is_the_release_before(checkout: Checkout) -> None:
    model = checkout.commit(**{"queues.yaml": "queues: {a: {}}\n"})
    assert checkout.describe() == (checkout.code, [])
    assert checkout.describe(model) == (checkout.code, [])
    code = checkout.commit(**{"queues.yaml": "queues: {}\n", "dags/packs/a.py": "A = 1\n"})
    assert checkout.describe() == (code, [])
    assert checkout.describe(model) == (checkout.code, [])


def test_another_file_of_that_name_belongs_to_the_release(checkout: Checkout) -> None:
    pack = checkout.commit(**{"dags/packs/queues.yaml": "another\n"})
    assert checkout.describe() == (pack, [])


def test_a_changed_queue_model_needs_no_commit_and_other_files_do(checkout: Checkout) -> None:
    checkout.write(**{"queues.yaml": "queues: {a: {}}\n"})
    assert checkout.describe() == (checkout.code, [])
    checkout.write(**{"dags/packs/queues.yaml": "another\n"})
    assert checkout.describe() == (checkout.code, [" M dags/packs/queues.yaml"])
