"""Calls that fail, wait, come at the same time, or belong to a trace."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import psycopg
import pytest

from tests.execution_api_calls import (
    BEAT,
    START,
    TRACE,
    Server,
    both,
    content,
    headers_for,
    path_of,
    prepare,
)
from tests.servers import eventually


def test_what_breaks_on_the_short_way_is_undone_and_done_by_airflow(
    server: Server, writer: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_config import execution_api_calls

    def broken(*_arguments: Any) -> Any:
        raise RuntimeError("after the endpoint, before the commit")

    stock = both(server, writer, "running", _fields)[0]
    monkeypatch.setattr(execution_api_calls, "_dumped", broken)
    _, ours, answered = both(server, writer, "running", _fields)
    assert ours == stock
    assert not answered


def test_the_endpoint_goes_on_with_the_callers_trace_and_id(
    server: Server, writer: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.execution_api.routes import task_instances
    from opentelemetry import trace
    from structlog.contextvars import get_contextvars

    seen = []

    def noted(*_arguments: Any) -> None:
        span = trace.get_current_span().get_span_context()
        seen.append((f"{span.trace_id:032x}", get_contextvars().get("correlation_id")))

    monkeypatch.setattr(task_instances, "ti_heartbeat", noted)
    ti = prepare(writer, "running")
    headers = headers_for(ti, "execution", traceparent=TRACE)
    server.ask(server.short, "PUT", path_of("heartbeat", ti), headers, json.dumps(BEAT).encode())
    assert seen == [(TRACE.split("-")[1], "c-1")]
    assert trace.get_current_span().get_span_context().trace_id == 0


def _fields(ti: str) -> Any:
    return "PUT", path_of("rtif", ti), headers_for(ti, "execution"), b'{"a": "b"}'


def test_of_two_starts_at_once_one_is_refused(
    server: Server, writer: psycopg.Connection[Any]
) -> None:
    ti = prepare(writer, "queued")

    async def race() -> list[int]:
        async with server.app.router.lifespan_context(server.app):
            transport = httpx.ASGITransport(server.short)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
                asked = [
                    http.patch(
                        path_of("run", ti),
                        headers=headers_for(ti, "workload"),
                        content=json.dumps({**START, "pid": pid}),
                    )
                    for pid in range(100, 108)
                ]
                return [answer.status_code for answer in await asyncio.gather(*asked)]

    statuses = asyncio.run(race())
    assert sorted(statuses) == [200, *([409] * 7)]
    assert len(content(writer)["log"]) == 1


def test_a_task_that_somebody_holds_is_waited_for(
    server: Server, writer: psycopg.Connection[Any]
) -> None:
    ti = prepare(writer, "queued")

    async def go(holder: psycopg.Connection[Any]) -> int:
        async with server.app.router.lifespan_context(server.app):
            transport = httpx.ASGITransport(server.short)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
                start = asyncio.create_task(
                    http.patch(
                        path_of("run", ti),
                        headers=headers_for(ti, "workload"),
                        content=json.dumps(START),
                    )
                )
                await eventually(lambda: _waits(writer), "somebody to wait for the row")
                assert not start.done()
                holder.commit()
                return (await start).status_code

    with psycopg.connect(server.url) as holder:
        holder.execute("UPDATE task_instance SET state = 'failed' WHERE id = %s", [ti])
        assert asyncio.run(go(holder)) == httpx.codes.CONFLICT


def _waits(writer: psycopg.Connection[Any]) -> bool:
    query = "SELECT 1 FROM pg_locks WHERE NOT granted"
    return writer.execute(query).fetchone() is not None
