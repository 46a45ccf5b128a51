"""Free TCP ports on loopback."""

from __future__ import annotations

import socket


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


def free_port() -> int:
    """Return a port that no one listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
