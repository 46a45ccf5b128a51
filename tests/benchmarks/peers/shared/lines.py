"""How the benchmark talks to a peer's program: a line of JSON each way.

Runs in a peer's environment: standard library alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


def serve(**commands: Callable[..., Any]) -> None:
    """Answer `{"do": COMMAND, ...}` lines until there are no more.

    What a library prints goes to standard error: standard output is for answers alone.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    answers.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"answer": commands[request.pop("do")](**request)}
        except Exception:  # whatever it is, the benchmark shows it beside the peer's name
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")


def poll(look: Callable[[], Any], interval: float, deadline: float = 300) -> Any:
    """Return what `look` finds, once it finds something."""
    end = time.monotonic() + deadline
    while (found := look()) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"expected an end within {deadline} s, found none")
        time.sleep(interval)
    return found
