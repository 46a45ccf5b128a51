"""Calls of the execution API, to Airflow's application and to the short way before it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from airflow_config import execution_api_server
from airflow_config.execution_api_calls import VERSION
from tests.metadata_database import insert_run, insert_task

RUN = "manual__2026-01-01T00:00:00+00:00"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00000000-0000-0000-0000-000000000001"
#: Columns that tell when something was done, or count rows, and differ between two tries.
_TIMES = {"updated_at", "last_heartbeat_at", "dttm", "timestamp", "id", "duration", "start_date"}
_TIMES |= {"run_after"}
#: Of the other task, by key.
RESULTS = {
    "small": {"b": [1.0, -1e-7, 123456789012345678901234567890, True], "a": "\u00fc\u2028<"},
    "large": [{"n": n, "text": "x" * 20} for n in range(40)],
    "null": None,
    "a/b": 1,
}
START = {
    "state": "running",
    "hostname": "h",
    "unixname": "u",
    "pid": 7,
    "start_date": "2026-01-01T00:00:00Z",
}
BEAT = {"hostname": "h", "pid": 7}


class Server:
    """Airflow's application, alone or with the short way before it."""

    def __init__(self, app: Any, url: str) -> None:
        self.app = app
        self.short = execution_api_server.before(app)
        assert self.short is not app
        # else both the first call and a thread would make them, of an application that goes round
        self.short._versions.start()
        asyncio.run(self.short._versions.ready())
        self.handed_on = 0
        self.url = url
        self.short._app = self._count

    async def _count(self, scope: Any, receive: Any, send: Any) -> None:
        self.handed_on += 1
        await self.app(scope, receive, send)

    def ask(self, app: Any, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        async def asked() -> httpx.Response:
            # its own loop each time: the life of the application goes with it
            async with self.app.router.lifespan_context(self.app):
                transport = httpx.ASGITransport(app, raise_app_exceptions=False)
                async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
                    return await http.request(method, path, headers=headers, content=body)

        return asyncio.run(asked())


def token(subject: str, scope: str, **changes: Any) -> str:
    from airflow.api_fastapi.auth.tokens import JWTGenerator, get_signing_args

    generator = JWTGenerator(
        **{"valid_for": 600, "audience": "urn:airflow.apache.org:task", "issuer": None} | changes,
        **get_signing_args(),
    )
    made: str = generator.generate(extras={"sub": subject, "scope": scope})
    return made


def headers_for(subject: str, scope: str, **changes: str) -> dict[str, str]:
    return {
        "authorization": f"Bearer {token(subject, scope)}",
        "airflow-api-version": VERSION.decode(),
        "content-type": "application/json",
        "correlation-id": "c-1",
        **changes,
    }


def prepare(writer: psycopg.Connection[Any], state: str | None) -> str:
    """Put the database into the state before; return the task's id."""
    for table in ("xcom", "log", "task_reschedule", "trigger", "task_instance_history", "dag_run"):
        writer.execute(f"DELETE FROM {table}")  # noqa: S608
    insert_run(writer, RUN, "running")
    insert_task(writer, "t", RUN, state)
    found = writer.execute(
        "UPDATE task_instance SET hostname = 'h', unixname = 'u', pid = 7, max_tries = 2,"
        " start_date = '2026-01-01', id = %s RETURNING id",
        ["11111111-1111-7111-8111-111111111111"],
    ).fetchone()
    assert found is not None
    insert_task(writer, "other", RUN, "running")
    for key, value in RESULTS.items():
        writer.execute(
            "INSERT INTO xcom"
            " (dag_run_id, task_id, map_index, key, dag_id, run_id, value, timestamp)"
            " SELECT id, 'other', -1, %s, dag_id, run_id, %s, now() FROM dag_run",
            [key, json.dumps(value)],
        )
    return str(found[0])


def content(writer: psycopg.Connection[Any]) -> dict[str, Any]:
    """Return all that a call may have changed, without the times."""
    found = {}
    reader = writer.cursor(row_factory=dict_row)
    for table, order in {
        "task_instance": "task_id",
        "task_instance_history": "task_id",
        "dag_run": "run_id",
        "xcom": "key",
        "log": "id",
        "rendered_task_instance_fields": "task_id",
        "task_reschedule": "id",
        "trigger": "id",
    }.items():
        rows = reader.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()  # noqa: S608
        found[table] = [
            {
                name: value
                for name, value in row.items()
                if name not in _TIMES | {"created_date", "trigger_id", "dag_run_id", "ti_id"}
                and name not in {"trigger_timeout", "kwargs", "task_instance_id", "queued_at"}
            }
            for row in rows
        ]
    return found


def said(answer: httpx.Response) -> Any:
    headers = dict(answer.headers)
    if "refreshed-api-token" in headers:
        import jwt
        from airflow.api_fastapi.auth.tokens import get_signing_args

        claims = jwt.decode(
            headers["refreshed-api-token"],
            get_signing_args()["secret_key"],
            algorithms=["HS512"],
            audience="urn:airflow.apache.org:task",
        )
        claims["life"] = claims["exp"] - claims["iat"]
        headers["refreshed-api-token"] = str(
            {name: claims[name] for name in ("sub", "scope", "aud", "life")}
        )
    # ids of rows differ between two tries, times too
    body = re.sub(rb'"queued_at":"[^"]*"|"run_after":"[^"]*"', b"", answer.content)
    return answer.status_code, headers, body


def both(
    server: Server, writer: psycopg.Connection[Any], state: str | None, ask: Any
) -> tuple[Any, Any, bool]:
    """Do the same with Airflow's application and with the short way before it."""
    found = []
    server.handed_on = 0
    for app in (server.app, server.short):
        ti = prepare(writer, state)
        if state is None:
            writer.execute("DELETE FROM task_instance WHERE id = %s", [ti])
        method, path, headers, body = ask(ti)
        answer = server.ask(app, method, path, headers, body)
        found.append((said(answer), content(writer)))
    return found[0], found[1], server.handed_on == 0


def path_of(case: str, ti: str) -> str:
    if case.startswith("found:"):
        return f"/execution/xcoms/d/{RUN.replace('+', '%2B')}/other/{case.removeprefix('found:')}"
    if case.startswith("xcom:"):
        return f"/execution/xcoms/d/{RUN.replace('+', '%2B')}/t/{case.removeprefix('xcom:')}"
    return f"/execution/task-instances/{ti}/{case}"
