"""Other systems from PyPI that run chains of tasks, measured on the same machine as airlane."""

from __future__ import annotations

from tests.benchmarks.peers.results import install, run

__all__ = ["install", "run"]
