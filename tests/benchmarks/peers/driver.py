"""The program that submits a peer's work, in the peer's environment, spoken to in lines."""

from __future__ import annotations

import json
import select
import subprocess
from contextlib import suppress
from typing import Any

from tests.benchmarks.peers.environment import UnavailableError, without_addresses
from tests.benchmarks.peers.processes import READY
from tests.benchmarks.peers.stack import Stack

#: Seconds that one chain may take, or the submission of a whole flood.
DEADLINE = 600


class Driver:
    """A peer's `program.py`, started without arguments; a context, whose end ends it."""

    def __init__(self, stack: Stack) -> None:
        self._log = stack.folder / "driver.log"
        with self._log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(stack.python), "-m", "program"],
                env=stack.env,
                cwd=stack.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )

    def __enter__(self) -> Driver:
        try:
            self._answer("start", READY)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # it only submits and asks: there is nothing that it would have to tidy up
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()  # type: ignore[union-attr]
        self._process.stdout.close()  # type: ignore[union-attr]

    def do(self, command: str, **values: Any) -> Any:
        """Have a command done and return its answer.

        Raises
        ------
        UnavailableError
            With what the program said instead.
        """
        request = json.dumps({"do": command, **values}) + "\n"
        try:
            self._process.stdin.write(request.encode())  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            raise UnavailableError(f"{command}: {self._said()}") from None
        return self._answer(command, DEADLINE)

    def _answer(self, command: str, deadline: float) -> Any:
        pipe = self._process.stdout
        assert pipe is not None
        # one answer a request: nothing can be left in the pipe's buffer
        if not select.select([pipe], [], [], deadline)[0]:
            raise UnavailableError(f"{command}: no answer within {deadline} s; {self._said()}")
        line = pipe.readline()
        if not line:
            raise UnavailableError(f"{command}: the program ended; {self._said()}")
        answer = json.loads(line)
        if "error" in answer:
            raise UnavailableError(f"{command}: {without_addresses(answer['error'])[-600:]}")
        return answer.get("answer")

    def _said(self) -> str:
        return without_addresses(self._log.read_text(errors="replace"))[-600:]
