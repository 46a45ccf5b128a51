"""Connections to the metadata database: no test of one that was used a moment ago.

`[database] sql_alchemy_pool_pre_ping` tests a connection each time that it leaves the pool. The
scheduler takes one for every transaction, some ten times for each step of a run. What needs no
test on the wire is still seen: a server that closes a connection, as when it is restarted, says so
on its socket.
"""

from __future__ import annotations

import select
import time
from typing import Any

from sqlalchemy import Engine, event

#: Seconds for which a connection that was given back counts as alive.
FRESH = 1.0


def trust(engine: Engine) -> None:
    """Spare tests of connections of this engine that came back less than `FRESH` ago."""
    dialect: Any = engine.dialect
    if "do_ping" in vars(dialect):  # a second start of the executor in this process
        return
    test = dialect.do_ping
    used: dict[int, float] = {}

    def given_back(connection: Any, _record: Any) -> None:
        used[id(connection)] = time.monotonic()

    def closed(connection: Any, _record: Any) -> None:
        used.pop(id(connection), None)

    def do_ping(connection: Any) -> bool:
        fresh = time.monotonic() - used.get(id(connection), float("-inf")) < FRESH
        if fresh and not _was_spoken_to(connection):
            return True
        return bool(test(connection))

    event.listen(engine, "checkin", given_back)
    event.listen(engine, "close", closed)
    dialect.do_ping = do_ping


def _was_spoken_to(connection: Any) -> bool:
    """Tell whether the server sent something that nobody asked for: its end, nearly always."""
    if not hasattr(connection, "fileno"):
        return False
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
