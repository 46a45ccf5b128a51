"""Orders for processes that are forked ahead, and a task that begins in one."""

from __future__ import annotations

import os
import socket

from workers.spare import Nursery, Template


def run(nursery: Nursery) -> None:
    """Do what an order says, in the process that got it."""
    pipe = socket.socketpair()[0]
    order = nursery.serve([[pipe.fileno()]], lambda: None)
    match order.decode().split():
        case ["exit", code]:
            pipe.send(str(os.getpid()).encode())
            os._exit(int(code))
        case ["kill", number]:
            os.kill(os.getpid(), int(number))
        case ["wait"]:
            pipe.recv(1)
            os._exit(0)


def begin(template: Template, order: str) -> tuple:
    """Give an order to a process; return it and our end of its pipe."""
    spare = template.spare()
    ours, theirs = socket.socketpair()
    template.begin(order.encode(), [theirs])
    theirs.close()
    return spare, ours
