"""Programs that `floor` starts: a bare web server, a bare Celery worker, a process that forks."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import jwt
from celery import Celery
from fastapi import FastAPI, Header, HTTPException

#: Signs the tokens of a server that lives for seconds, on loopback.
SECRET = "of a benchmark that measures one call and is gone, long enough for HS512 to be content"
ALGORITHM = "HS512"
_AUDIENCE = "floor"

_REDIS = os.environ.get("PEER_REDIS")
app = Celery("floor", broker=_REDIS, backend=_REDIS)


@app.task(name="floor.nothing")
def nothing() -> None:
    """Do nothing."""


def token() -> str:
    """Return what the web server lets in."""
    claims = {"sub": "task", "aud": _AUDIENCE, "exp": time.time() + 3600}
    return jwt.encode(claims, SECRET, algorithm=ALGORITHM)


def web() -> FastAPI:
    """Return a web server with one address, which checks the caller's token."""
    server = FastAPI()

    @server.get("/")
    async def answer(authorization: str = Header()) -> dict[str, Any]:
        try:
            claims = jwt.decode(
                authorization.removeprefix("Bearer "),
                SECRET,
                algorithms=[ALGORITHM],
                audience=_AUDIENCE,
            )
        except jwt.InvalidTokenError as error:
            raise HTTPException(403, str(error)) from None
        return {"task": claims["sub"]}

    return server


def forks(count: int) -> dict[str, float]:
    """Fork so many children that end at once, from a process that has loaded what tasks need."""
    import gc

    from workers import huge_pages, preload

    preload.import_all(preload.ALWAYS)
    gc.collect()
    gc.freeze()
    huge_pages.use()

    def fork() -> None:
        if not (pid := os.fork()):
            os._exit(0)
        os.waitpid(pid, 0)

    return _cost(count, fork)


def messages(count: int) -> dict[str, float]:
    """Send so many messages, one after the other's result."""
    return _cost(count, lambda: nothing.delay().get(timeout=60))


def _cost(count: int, do: Callable[[], object]) -> dict[str, float]:
    """Return what doing something costs this process and its children, after a first time."""
    do()
    begin, before = time.monotonic(), _cpu()
    for _ in range(count):
        do()
    return {"cpu": (_cpu() - before) / count, "seconds": (time.monotonic() - begin) / count}


def _cpu() -> float:
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


if __name__ == "__main__":
    program = {"forks": forks, "messages": messages}[sys.argv[1]]
    sys.stdout.write(json.dumps(program(int(sys.argv[2]))))
