"""The versions of the execution API, generated before the first call that needs them.

Cadwyn generates the routes of all versions with the first request: some 4 s of the processor, in
the event loop, so that the API server answers nobody meanwhile. The short way leaves that to the
first call that is handed on, which may come in the midst of a flood. Here a thread does it when the
server, which is up then, is first asked anything, and such a call waits for it. Read from Cadwyn
7.0.0.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import Thread
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class Versions:
    """The versions of one application.

    Parameters
    ----------
    app
        The execution API's.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._started = False
        self._done: Future[None] = Future()
        # Who waits may be cancelled, what it waits for not.
        self._done.set_running_or_notify_cancel()

    def start(self) -> None:
        """Begin to generate them in a thread; once, however often it is called."""
        if self._started:
            return
        self._started = True
        Thread(target=self._generate, name="execution-api-versions", daemon=True).start()

    def _generate(self) -> None:
        try:
            if not self._app._cadwyn_initialized:
                self._app._cadwyn_initialize()
        except Exception:
            _log.exception(
                "expected the versions of the execution API to be generated, found this error; "
                "the first call that needs them tries again. Fix: report it with this trace"
            )
        finally:
            self._done.set_result(None)

    async def ready(self) -> None:
        """Wait until they are there, or could not be made."""
        if not self._done.done():
            await asyncio.wrap_future(self._done)
