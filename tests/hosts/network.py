"""Sockets in the test hosts' network, from the test's own process.

A network namespace belongs to a thread, and a socket to the namespace in which it was made. So a
client that is made in `inside` speaks from there, as `testhosts.sh exec` would, and a thread that
calls `enter` first lives there.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NETWORK = 0x40000000  # CLONE_NEWNET
#: Of this thread; `/proc/self` is the process's main thread.
_OWN = Path("/proc/thread-self/ns/net")


def enter(namespace: str) -> None:
    """Have this thread make its sockets in a namespace, for good."""
    with Path("/run/netns", namespace).open() as there:
        _set(there.fileno(), namespace)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Have this thread make its sockets in a namespace, for the time of the block.

    Parameters
    ----------
    namespace
        The hosts' switch (`Machines.switch`), or a host's own name: what is made there comes from
        its address.
    """
    with _OWN.open() as home:
        enter(namespace)
        try:
            yield
        finally:
            _set(home.fileno(), "the one before")


def _set(descriptor: int, name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _NETWORK):
        number = ctypes.get_errno()
        raise OSError(number, f"setns to {name}: {os.strerror(number)}")
