"""Tasks and driver of the Celery peer; runs in its environment."""

from __future__ import annotations

import os
import time
from typing import Any

import lines
import redis
import steps
from celery import Celery, chain

app = Celery("peer", broker=os.environ["PEER_REDIS"], backend=os.environ["PEER_REDIS"])


@app.task(name="step")
def step(run: str, number: int, seconds: float) -> int:
    return steps.step(run, number, seconds)


@app.task(name="nap", ignore_result=True)
def nap(seconds: float) -> None:
    steps.nap(seconds)


def _begin(run: str, seconds: float) -> Any:
    links = [step.si(run, n, seconds).set(queue="urgent") for n in range(1, steps.STEPS + 1)]
    return chain(*links).apply_async()


def begin(run: str, seconds: float) -> None:
    _begin(run, seconds)


def measure(run: str) -> float:
    start = time.time()
    _begin(run, 0).get(timeout=300)
    return time.time() - start


def flood(count: int, seconds: float) -> None:
    for _ in range(count):
        nap.apply_async((seconds,), queue="batch")


def waiting() -> int:
    with redis.Redis.from_url(os.environ["PEER_REDIS"]) as client:
        return int(client.llen("batch"))


if __name__ == "__main__":
    lines.serve(begin=begin, measure=measure, flood=flood, waiting=waiting)
