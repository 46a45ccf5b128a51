"""The driver of a peer, with a program that stands in for a peer's."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.peers.catalogue import PEERS
from tests.benchmarks.peers.chain import QUICK, STEPS, Measurement
from tests.benchmarks.peers.driver import Driver
from tests.benchmarks.peers.environment import UnavailableError
from tests.benchmarks.peers.stack import SHARED

PROGRAM = """\
import lines, os, steps

def measure(run, order=range(1, steps.STEPS + 1)):
    print("a library talks")
    for number in order:
        steps.step(run, number)
    return 0.25

def doubled(run):
    return measure(run, [1, 1, 2, 3, 4, 5, 6])

def fails():
    raise OSError("refused by redis://u:p@127.0.0.1:1/0")

lines.serve(measure=doubled if os.environ.get("DOUBLED") else measure, fails=fails,
            dies=lambda: os._exit(1), flood=lambda count, seconds: None,
            waiting=lambda: int(os.environ.get("WAITING", "5")))
"""


class StackDouble:
    def __init__(self, folder: Path, **variables: str) -> None:
        (folder / "traces").mkdir()
        (folder / "program.py").write_text(PROGRAM)
        self.folder, self.python = folder, Path(sys.executable)
        self.env = {
            **os.environ,
            **variables,
            "PYTHONPATH": f"{folder}:{SHARED}",
            "PEER_TRACES": str(folder / "traces"),
        }


def measurement(stack: Any, driver: Driver) -> Measurement:
    return Measurement(PEERS["celery"], stack, driver, QUICK)


def test_a_chain_is_measured_and_its_steps_are_counted(tmp_path: Path) -> None:
    stack: Any = StackDouble(tmp_path)
    with Driver(stack) as driver:
        found = measurement(stack, driver)
        assert found.once() == 0.25
        assert [number for number, _pid in found.trace("run-00001")] == list(range(1, STEPS + 1))


def test_a_step_done_twice_is_no_result(tmp_path: Path) -> None:
    stack: Any = StackDouble(tmp_path, DOUBLED="1")
    with Driver(stack) as driver, pytest.raises(UnavailableError, match=r"found \[1, 1, 2"):
        measurement(stack, driver).once()


def test_a_flood_that_is_over_before_the_chains_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack: Any = StackDouble(tmp_path, WAITING="0")
    monkeypatch.setattr(Measurement, "chains", lambda _self: {"n": 1})
    with Driver(stack) as driver, pytest.raises(UnavailableError, match="batch tasks that wait"):
        measurement(stack, driver).flooded()


def test_an_error_of_the_program_comes_without_addresses_and_the_next_request_goes_on(
    tmp_path: Path,
) -> None:
    stack: Any = StackDouble(tmp_path)
    with Driver(stack) as driver:
        with pytest.raises(UnavailableError, match="refused by <address>"):
            driver.do("fails")
        assert driver.do("waiting") == 5


def test_a_program_that_ends_is_named(tmp_path: Path) -> None:
    stack: Any = StackDouble(tmp_path)
    with Driver(stack) as driver, pytest.raises(UnavailableError, match="the program ended"):
        driver.do("dies")
