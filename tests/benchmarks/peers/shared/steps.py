"""The work of every peer: a step that is trivial, and one that only takes time.

Runs in a peer's environment: standard library alone.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

#: Steps of the chain.
STEPS = 6


def step(run: str, number: int, seconds: float = 0) -> int:
    """Do step `number` of a run; the trace that it leaves shows the order and the process."""
    if seconds:
        time.sleep(seconds)
    file = os.open(
        Path(os.environ["PEER_TRACES"], run), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600
    )
    try:
        os.write(file, f"{number} {os.getpid()}\n".encode())
    finally:
        os.close(file)
    return number


def nap(seconds: float) -> None:
    """Do one task of the flood."""
    time.sleep(seconds)
