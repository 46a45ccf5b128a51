"""Servers that tests start and stop, and how they await what should come true."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from deploy.local import postgres as pg

#: Seconds that a server may take to answer on a busy machine.
DEADLINE = 60
PASSWORD = "x"


def wait_until(condition: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
    """Await a condition; fail with `what` when it does not come true in time."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {deadline} s")
        time.sleep(0.02)


async def eventually(condition: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
    """Await a condition on other threads or processes, as `wait_until`, beside what runs here."""
    end = time.monotonic() + deadline
    while not await asyncio.to_thread(condition):
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {deadline} s")
        await asyncio.sleep(0.02)


@contextmanager
def serving(words: list[str], log: Path, condition: Callable[[], bool]) -> Iterator[None]:
    """Run a server until the block ends; it is stopped by its own process id."""
    with log.open("wb") as out, subprocess.Popen(words, stdout=out, stderr=out) as process:
        try:
            wait_until(lambda: process.poll() is not None or condition(), words[0])
            if process.poll() is not None:
                pytest.fail(f"{words} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass(frozen=True)
class PostgresServer:
    port: int

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return pg.url(self.port, database, user, PASSWORD)

    def create_database(
        self, name: str, owner: str = "airlane_owner", template: str = "template1"
    ) -> str:
        """Create a database and return its owner's address."""
        with self.connect() as connection:
            pg.create_database(connection, name, owner, template)
        return self.url(name, owner)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            f"host=127.0.0.1 port={self.port} user=postgres password={PASSWORD} dbname={database}",
            autocommit=True,
        )
