"""The command line in the test's own process, as it is typed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from airlane import cli


@dataclass
class Ended:
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


Airlane = Callable[..., Ended]


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Airlane:
    """Return what runs `airlane WORDS`."""

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["airlane", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        found = capsys.readouterr()
        return Ended(int(ended.value.code or 0), found.out, found.err)

    return run


def runner_of(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Airlane:
    """Return what runs `airlane WORDS` on the instance in `home`, with an empty site file."""
    site = home.with_name("site.yaml")
    site.touch()
    monkeypatch.setenv("AIRLANE_HOME", str(home))
    monkeypatch.setenv("AIRLANE_SITE", str(site))
    return runner(monkeypatch, capsys)
