"""What the steps of a task cost by themselves."""

from __future__ import annotations

import asyncio
import os
import time

import httpx
import jwt
import pytest

from tests.benchmarks import floor, floor_programs


def test_a_cost_is_that_of_one_and_counts_children() -> None:
    done: list[int] = []

    def do() -> None:
        done.append(0)
        if not (pid := os.fork()):
            while time.process_time() < 0.1:
                pass
            os._exit(0)
        os.waitpid(pid, 0)

    cpu, seconds = floor.times(4, do)
    assert len(done) == 5
    assert cpu > 0.05
    assert seconds > 0


def test_a_fork_costs_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.preload.import_all", lambda _names: [])
    monkeypatch.setattr("workers.huge_pages.use", lambda: 0)
    monkeypatch.setattr("gc.freeze", lambda: None)
    assert floor_programs.forks(20)["seconds"] > 0


def test_the_web_server_checks_the_token() -> None:
    server = httpx.ASGITransport(floor_programs.web())

    async def answer(token: str) -> httpx.Response:
        head = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(transport=server, base_url="http://h", headers=head) as client:
            return await client.get("/")

    wrong = jwt.encode({"sub": "x"}, "another secret, long enough for the algorithm" * 2, "HS512")
    right = floor_programs.token()
    assert asyncio.run(answer(right)).json() == {"task": "task"}
    assert asyncio.run(answer(wrong)).status_code == 403


def test_what_is_measured_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        def __init__(self, *_: object) -> None:
            self.env: dict[str, str] = {}
            self.folder = _[0]

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(floor, "Stack", Nothing)
    for name in ("_program", "_command", "_commit", "_http", "_celery"):
        monkeypatch.setattr(floor, name, lambda *_: (0.001, 0.002))
    found = floor.measure(lambda _line: None)
    assert {name: each["what"] for name, each in found.items()} == floor.WHAT
    assert all((each["cpu"], each["seconds"]) == (0.001, 0.002) for each in found.values())
