"""What is unusual about a request: its headers, its body, its token, its end."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import psycopg
import pytest
from airflow.api_fastapi.execution_api.app import _jwt_validator
from jwt import InvalidTokenError

from airflow_config import execution_api_tokens
from airflow_config.execution_api_tokens import Claims
from tests.execution_api_calls import (
    BEAT,
    OTHER,
    START,
    TRACE,
    Server,
    both,
    content,
    headers_for,
    path_of,
    prepare,
    token,
)

_START = json.dumps(START).encode()


@pytest.mark.parametrize(
    ("changes", "body", "status", "short"),
    [
        ({}, _START, 200, True),
        ({"airflow-api-version": "2026-04-06"}, _START, 200, False),
        ({"airflow-api-version": ""}, _START, 404, False),
        ({"content-type": "text/plain"}, _START, 422, False),
        ({"content-type": "application/json; charset=utf-8"}, _START, 200, False),
        ({"authorization": "Bearer nonsense"}, _START, 403, False),
        ({"authorization": "Basic eDp5"}, _START, 401, False),
        ({"traceparent": TRACE}, _START, 200, True),
        ({"x-request-id": "r"}, _START, 200, False),
        ({"cookie": "_token=x"}, _START, 200, False),
        ({"correlation-id": "another"}, _START, 200, True),
        ({"x-anything": "1"}, _START, 200, True),
        ({}, b"", 422, False),
        ({}, b"{", 422, False),
        ({}, b'{"state": "running"', 422, False),
        ({}, b"\xff", 400, False),
    ],
)
def test_what_is_unusual_is_handed_on(
    server: Server,
    writer: psycopg.Connection[Any],
    changes: dict[str, str],
    body: bytes,
    status: int,
    short: bool,
) -> None:
    def ask(ti: str) -> Any:
        return "PATCH", path_of("run", ti), headers_for(ti, "workload") | changes, body

    stock, ours, answered = both(server, writer, "queued", ask)
    assert ours == stock
    assert ours[0][0] == status
    assert answered is short


def test_a_task_cannot_speak_for_another(server: Server, writer: psycopg.Connection[Any]) -> None:
    def ask(ti: str) -> Any:
        return "PATCH", path_of("run", ti), headers_for(OTHER, "workload"), _START

    stock, ours, answered = both(server, writer, "queued", ask)
    assert ours == stock
    assert ours[0][0] == httpx.codes.FORBIDDEN
    assert not answered


@pytest.mark.parametrize(
    ("claims", "status", "answered"),
    [
        # Airflow gives a new token when a fifth of its life is left, or 30 s
        ({"valid_for": 20}, 204, False),
        ({"valid_for": -60}, 403, False),
        ({"audience": "somebody else"}, 403, False),
        ({"valid_for": 600}, 204, True),
    ],
)
def test_tokens_near_or_past_their_end(
    server: Server,
    writer: psycopg.Connection[Any],
    claims: dict[str, Any],
    status: int,
    answered: bool,
) -> None:
    def ask(ti: str) -> Any:
        bearer = {"authorization": f"Bearer {token(ti, 'execution', **claims)}"}
        headers = headers_for(ti, "execution") | bearer
        return "PUT", path_of("heartbeat", ti), headers, json.dumps(BEAT).encode()

    stock, ours, short = both(server, writer, "running", ask)
    assert ours == stock
    assert ours[0][0] == status
    assert short is answered


@pytest.mark.parametrize(
    "read",
    [
        # of 55, the first digit: JSON as well
        [{"type": "http.request", "body": b"5", "more_body": True}],
        # away before the server, busy with others, came to read what had arrived
        [],
    ],
)
def test_a_client_that_goes_away_before_its_body_is_read_changes_nothing(
    server: Server, writer: psycopg.Connection[Any], read: list[dict[str, Any]]
) -> None:
    ti = prepare(writer, "running")
    path = path_of("xcom:k", ti).replace("%2B", "+")
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "server": ("api", 80),
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in headers_for(ti, "execution").items()],
    }

    async def go(app: Any) -> list[dict[str, Any]]:
        left, sent = list(read), []

        async def receive() -> Any:
            return left.pop(0) if left else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        async with server.app.router.lifespan_context(server.app):
            await app(scope, receive, send)
        return sent

    # Airflow's application says that the body can't be parsed, and nobody hears it
    answer = asyncio.run(go(server.app))
    assert answer[0]["status"] == httpx.codes.BAD_REQUEST
    assert asyncio.run(go(server.short)) == []
    assert server.handed_on == 0
    assert "k" not in {row["key"] for row in content(writer)["xcom"]}


def test_a_known_token_is_believed_until_its_time_is_over(
    application: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    validator = _CountingValidator()
    claims = Claims(validator)  # type: ignore[arg-type]
    known = token(OTHER, "execution", valid_for=600)
    first = asyncio.run(claims.of(known))
    assert asyncio.run(claims.of(known)) == first == asyncio.run(validator.whole(known))
    assert validator.asked == [known]
    # another one, though it differs in its last letter only
    with pytest.raises(InvalidTokenError):
        asyncio.run(claims.of(known[:-2] + ("AA" if known[-2:] != "AA" else "BB")))
    # its end, as Airflow sees it
    clock = time.time() + 600 + validator.leeway + 1
    monkeypatch.setattr("airflow_config.execution_api_tokens.time.time", lambda: clock)
    asyncio.run(claims.of(known))
    assert validator.asked.count(known) == 2


def test_tokens_are_forgotten_when_there_are_many(
    application: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execution_api_tokens, "KEPT", 2)
    validator = _CountingValidator()
    claims = Claims(validator)  # type: ignore[arg-type]
    tokens = [token(OTHER, "execution", valid_for=600) for _ in range(3)]
    for known in [*tokens, *tokens[1:], tokens[0]]:
        asyncio.run(claims.of(known))
    assert validator.asked == [*tokens, tokens[0]]


def test_with_keys_that_may_be_withdrawn_each_token_is_checked_each_time(
    application: Any,
) -> None:
    validator = _CountingValidator()
    validator.jwks = object()
    claims = Claims(validator)  # type: ignore[arg-type]
    known = token(OTHER, "execution", valid_for=600)
    for _ in range(2):
        asyncio.run(claims.of(known))
    assert validator.asked == [known, known]


class _CountingValidator:
    """Airflow's validator, and what it was asked."""

    def __init__(self) -> None:
        self._validator = _jwt_validator()
        self.leeway = self._validator.leeway
        self.jwks: object | None = None
        self.asked: list[str] = []

    async def whole(self, asked: str) -> Any:
        return await self._validator.avalidated_claims(asked, {})

    async def avalidated_claims(self, asked: str, _required: Any) -> Any:
        self.asked.append(asked)
        return await self.whole(asked)


def test_a_token_need_not_say_when_it_begins(application: Any) -> None:
    claims = Claims(_CountingValidator())  # type: ignore[arg-type]
    now = time.time()
    assert claims._in_time({"iat": now - 1, "exp": now + 60})
    assert not claims._in_time({"iat": now - 600, "exp": now - 300})
