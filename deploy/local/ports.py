"""Free TCP ports on loopback."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection
from pathlib import Path

#: Below are ports that programs have by name, and those of the fleet's own servers.
_LOWEST = 15_000


def is_free(port: int) -> bool:
    """Say whether a server could listen on `port` of loopback now."""
    with socket.socket() as probe:
        # As servers do it: a connection that has just ended does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(besides: Collection[int] = ()) -> int:
    """Return a port that no one listens on now, and none of `besides`.

    Below the range from which the system takes ports for connections: there, any program's
    outgoing connection could take it before its server starts.
    """
    for port in random.sample(range(_LOWEST, _outgoing()), k=200):
        if port not in besides and is_free(port):
            return port
    raise OSError(errno.EADDRINUSE, f"expected a free port from {_LOWEST} to {_outgoing()}")


def _outgoing() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 0
    return first if first > _LOWEST + 1_000 else 32_768
