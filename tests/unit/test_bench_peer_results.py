"""What a measurement of peers gives when one of them fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import peers
from tests.benchmarks.peers import environment, results
from tests.benchmarks.peers.chain import CASES
from tests.benchmarks.peers.environment import UnavailableError
from tests.benchmarks.peers.peer import Peer


def test_what_is_not_measured_is_none_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> Path:
        raise UnavailableError("not installable here: no wheel for this machine")

    monkeypatch.setattr(environment, "ensure", refuse)
    said: list[str] = []
    found = peers.run(["celery", "dbos"], quick=True, progress=said.append, home=tmp_path)
    assert list(found) == ["celery", "dbos"]
    for result in found.values():
        assert all(result[case] is None for case in CASES)
        assert result["version"] is None
        assert result["note"].endswith("no wheel for this machine")
    assert any("no wheel" in line for line in said)


def test_a_peer_whose_server_fails_does_not_keep_the_next_from_being_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measured(peer: Peer, *_: object) -> Any:
        if peer.name == "celery":
            raise OSError("no space left")
        yield "chain6_idle", {"n": 3}

    monkeypatch.setattr(environment, "ensure", lambda *_: Path(sys.executable))
    monkeypatch.setattr(environment, "version", lambda *_: "1")
    monkeypatch.setattr(results, "measure", measured)
    found = peers.run(["celery", "dbos"], quick=True, progress=lambda _: None, home=tmp_path)
    assert found["celery"]["note"].endswith("no space left")
    assert found["dbos"]["chain6_idle"] == {"n": 3}


def test_what_was_measured_before_a_failure_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measured(*_: object) -> Any:
        yield "chain6_idle", {"n": 3}
        raise UnavailableError("flood: no answer")

    monkeypatch.setattr(environment, "ensure", lambda *_: Path(sys.executable))
    monkeypatch.setattr(results, "measure", measured)
    result = peers.run(["celery"], quick=True, progress=lambda _: None, home=tmp_path)["celery"]
    assert result["chain6_idle"] == {"n": 3}
    assert result["chain6_flood_2000"] is None
    assert result["note"].endswith("flood: no answer")


def test_two_measurements_in_one_folder_do_not_end_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def again(*_: object) -> Path:
        raise UnavailableError(
            peers.run(["celery"], quick=True, progress=lambda _: None, home=tmp_path)["celery"][
                "note"
            ]
        )

    monkeypatch.setattr(environment, "ensure", again)
    result = peers.run(["celery"], quick=True, progress=lambda _: None, home=tmp_path)["celery"]
    assert "found another measurement" in result["note"]
