"""What a part tells systemd: that it is ready, and that it makes progress (sd_notify(3)).

Without systemd nothing happens. Units need `Type=notify` and `WatchdogSec=`: systemd then ends a
part that makes no progress for so long, and starts it again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import cache

#: Part of the watchdog's time after which it is told again.
_SHARE = 4


class Service:
    """The process as a service of systemd.

    Parameters
    ----------
    environment
        Holds what systemd tells: `NOTIFY_SOCKET`, `WATCHDOG_USEC`.
    clock
        Seconds that only grow.
    """

    def __init__(
        self, environment: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        # Processes that are forked from this one must not speak for it.
        self._owner = os.getpid()
        self._clock = clock
        watchdog = environment.get("WATCHDOG_USEC", "")
        #: Seconds without progress after which systemd ends this process; None for no bound.
        self.watchdog = int(watchdog) / 1e6 if watchdog.isdecimal() and int(watchdog) else None
        self._next = float("-inf")
        self._ready = False

    @property
    def supervised(self) -> bool:
        """Whether systemd wants to hear of this process."""
        return bool(self._address) and os.getpid() == self._owner

    def progress(self) -> None:
        """Tell that this process got on with its work; the first time, that it is ready."""
        now = self._clock()
        if now < self._next or not self.supervised:
            return
        words = ["WATCHDOG=1"] if self._ready else ["READY=1", "WATCHDOG=1"]
        if self._send("\n".join(words)):
            self._ready = True
            self._next = now + (self.watchdog / _SHARE if self.watchdog else float("inf"))

    def _send(self, text: str) -> bool:
        address = self._address
        if address.startswith("@"):  # an abstract name
            address = f"\0{address[1:]}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                # systemd may be busy; nobody waits for it here
                sender.setblocking(False)
                sender.sendto(text.encode(), address)
        except OSError:
            return False
        return True


@cache
def service() -> Service:
    """Return this process as a service; the same each time, also in what is forked from it."""
    return Service(os.environ)
