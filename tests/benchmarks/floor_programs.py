"""Programs that `floor` starts: a bare web server, a bare Celery worker, a process that forks."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

import jwt
from celery import Celery
from fastapi import FastAPI, Header, HTTPException

#: Signs the tokens of a server that lives for seconds, on loopback.
SECRET = "of a benchmark that measures one call and is gone, long enough for HS512 to be content"
ALGORITHM = "HS512"
_AUDIENCE = "floor"

app = Celery("floor", broker=os.environ.get("PEER_REDIS"), backend=os.environ.get("PEER_REDIS"))


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
    begin, before = time.monotonic(), _cpu()
    for _ in range(count):
        if not (pid := os.fork()):
            os._exit(0)
        os.waitpid(pid, 0)
    used, passed = _cpu() - before, time.monotonic() - begin
    return {"cpu": used / count, "seconds": passed / count}


def _cpu() -> float:
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(forks(int(sys.argv[1]))))
