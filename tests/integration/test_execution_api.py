"""The short way through the API server answers and does what Airflow's own application does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from airflow_config import execution_api, execution_api_fit, execution_api_server
from airflow_config.execution_api_calls import VERSION
from tests.metadata_database import insert_dag, insert_run, insert_task

RUN = "manual__2026-01-01T00:00:00+00:00"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00000000-0000-0000-0000-000000000001"
#: Columns that tell when something was done, or count rows, and differ between two tries.
_TIMES = {"updated_at", "last_heartbeat_at", "dttm", "timestamp", "id", "duration", "start_date"}
_TIMES |= {"run_after"}
START = {
    "state": "running",
    "hostname": "h",
    "unixname": "u",
    "pid": 7,
    "start_date": "2026-01-01T00:00:00Z",
}
SUCCESS = {
    "state": "success",
    "end_date": "2026-01-01T00:00:05Z",
    "task_outlets": [],
    "outlet_events": [],
    "rendered_map_index": "one",
}
RETRY = {
    "state": "up_for_retry",
    "end_date": "2026-01-01T00:00:05Z",
    "retry_delay_seconds": 3.5,
    "retry_reason": "because",
}
DEFERRED = {
    "state": "deferred",
    "classpath": "a.B",
    "trigger_kwargs": {"x": 1},
    "trigger_timeout": "PT5S",
    "next_method": "again",
    "next_kwargs": {"y": [1, None]},
}
RESCHEDULED = {
    "state": "up_for_reschedule",
    "reschedule_date": "2026-01-01T00:01:00Z",
    "end_date": "2026-01-01T00:00:05Z",
}
BEAT = {"hostname": "h", "pid": 7}

#: State before, who asks (scope), method, path, body; and whether the short way answers.
Case = tuple[str | None, str, str, str, Any, bool]
CASES: dict[str, Case] = {
    "a queued task starts": ("queued", "workload", "PATCH", "run", START, True),
    "it starts with its own token": ("queued", "execution", "PATCH", "run", START, True),
    "it starts once more": ("running", "workload", "PATCH", "run", START, True),
    "another one starts it": ("running", "workload", "PATCH", "run", {**START, "pid": 8}, False),
    "an ended task starts": ("success", "workload", "PATCH", "run", START, False),
    "a start names no process": ("queued", "workload", "PATCH", "run", {"state": "running"}, False),
    "a start says too much": ("queued", "workload", "PATCH", "run", {**START, "x": 1}, False),
    "a deleted task starts": (None, "workload", "PATCH", "run", START, False),
    "a task ends well": ("running", "execution", "PATCH", "state", SUCCESS, True),
    "it says so again": ("success", "execution", "PATCH", "state", SUCCESS, True),
    "a task that does not run ends": ("queued", "execution", "PATCH", "state", SUCCESS, False),
    "a deleted task ends": (None, "execution", "PATCH", "state", SUCCESS, False),
    "a workload's token ends it": ("running", "workload", "PATCH", "state", SUCCESS, False),
    "a task fails": (
        *("running", "execution", "PATCH", "state"),
        {"state": "failed", "end_date": SUCCESS["end_date"]},
        True,
    ),
    "a task is skipped": (
        *("running", "execution", "PATCH", "state"),
        {"state": "skipped", "end_date": SUCCESS["end_date"]},
        True,
    ),
    "a task will try again": ("running", "execution", "PATCH", "state", RETRY, True),
    "a task is deferred": ("running", "execution", "PATCH", "state", DEFERRED, True),
    "a task is rescheduled": ("running", "execution", "PATCH", "state", RESCHEDULED, True),
    "an unknown state": ("running", "execution", "PATCH", "state", {"state": "gone"}, False),
    "no object": ("running", "execution", "PATCH", "state", "success", False),
    "fields are kept": ("running", "execution", "PUT", "rtif", {"a": "b", "c": [1, None]}, True),
    "no fields": ("running", "execution", "PUT", "rtif", [], False),
    "fields of a deleted task": (None, "execution", "PUT", "rtif", {"a": "b"}, False),
    "a heartbeat": ("running", "execution", "PUT", "heartbeat", BEAT, True),
    "a heartbeat of another": (
        *("running", "execution", "PUT", "heartbeat"),
        {**BEAT, "pid": 9},
        False,
    ),
    "a heartbeat after the end": ("success", "execution", "PUT", "heartbeat", BEAT, False),
    "a result": ("running", "execution", "POST", "xcom:return_value", {"a": [1.5, "\u00fc"]}, True),
    "a result that is null": ("running", "execution", "POST", "xcom:k", None, True),
    "a key with a slash": ("running", "execution", "POST", "xcom:a/b", 1, True),
    "a result of a mapped task": ("running", "execution", "POST", "xcom:k?map_index=2", 1, False),
    "a result by a workload's token": ("running", "workload", "POST", "xcom:k", 1, False),
}


class Server:
    """Airflow's application, alone or with the short way before it."""

    def __init__(self, app: Any, url: str) -> None:
        self.app = app
        self.short = execution_api_server.before(app)
        assert self.short is not app
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


@pytest.fixture(scope="module")
def application() -> Iterator[Any]:
    from airflow.api_fastapi.app import create_app
    from airflow.configuration import conf

    conf.set("api_auth", "jwt_secret", "s" * 64)
    yield create_app(apps="execution")
    conf.remove_option("api_auth", "jwt_secret")


@pytest.fixture
def server(application: Any, metadata_orm: str) -> Server:
    return Server(application, metadata_orm.replace("+psycopg", ""))


@pytest.fixture
def writer(server: Server) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        insert_dag(connection, "d")
        yield connection


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
    if case.startswith("xcom:"):
        return f"/execution/xcoms/d/{RUN.replace('+', '%2B')}/t/{case.removeprefix('xcom:')}"
    return f"/execution/task-instances/{ti}/{case}"


@pytest.mark.parametrize("name", CASES)
def test_the_answer_and_the_database_are_as_airflow_leaves_them(
    server: Server, writer: psycopg.Connection[Any], name: str
) -> None:
    state, scope, method, path, body, short = CASES[name]
    stock, ours, answered = both(
        server,
        writer,
        state,
        lambda ti: (
            method,
            path_of(path, ti),
            headers_for(ti, scope),
            json.dumps(body).encode(),
        ),
    )
    assert ours[0] == stock[0]
    assert ours[1] == stock[1]
    assert answered is short


@pytest.mark.parametrize(
    ("changes", "short"),
    [
        ({"airflow-api-version": "2026-04-06"}, False),
        ({"airflow-api-version": ""}, False),
        ({"content-type": "text/plain"}, False),
        ({"content-type": "application/json; charset=utf-8"}, False),
        ({"authorization": "Bearer nonsense"}, False),
        ({"authorization": "Basic eDp5"}, False),
        ({"traceparent": TRACE}, True),
        ({"x-request-id": "r"}, False),
        ({"cookie": "_token=x"}, False),
        ({"correlation-id": "another"}, True),
        ({"x-anything": "1"}, True),
    ],
)
def test_what_is_unusual_is_handed_on(
    server: Server, writer: psycopg.Connection[Any], changes: dict[str, str], short: bool
) -> None:
    stock, ours, answered = both(
        server,
        writer,
        "queued",
        lambda ti: (
            "PATCH",
            path_of("run", ti),
            headers_for(ti, "workload") | changes,
            json.dumps(START).encode(),
        ),
    )
    assert ours == stock
    assert answered is short


@pytest.mark.parametrize("body", [b"", b"{", b'{"state": "running"', b"\xff"])
def test_a_body_that_cannot_be_read_is_handed_on(
    server: Server, writer: psycopg.Connection[Any], body: bytes
) -> None:
    stock, ours, answered = both(
        server,
        writer,
        "queued",
        lambda ti: ("PATCH", path_of("run", ti), headers_for(ti, "workload"), body),
    )
    assert ours == stock
    assert not answered


def test_a_task_cannot_speak_for_another(server: Server, writer: psycopg.Connection[Any]) -> None:
    stock, ours, answered = both(
        server,
        writer,
        "queued",
        lambda ti: (
            "PATCH",
            path_of("run", ti),
            headers_for(OTHER, "workload"),
            json.dumps(START).encode(),
        ),
    )
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


def test_a_client_that_goes_away_in_the_midst_of_its_body_changes_nothing(
    server: Server, writer: psycopg.Connection[Any]
) -> None:
    ti = prepare(writer, "running")
    path = path_of("xcom:k", ti).replace("%2B", "+")
    messages = [
        # of 55, the first digit: JSON as well
        {"type": "http.request", "body": b"5", "more_body": True},
        {"type": "http.disconnect"},
    ]
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

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        return None

    async def go() -> None:
        async with server.app.router.lifespan_context(server.app):
            # what Airflow's application makes of it is its own matter
            with contextlib.suppress(Exception):
                await server.short(scope, receive, send)

    asyncio.run(go())
    assert server.handed_on == 1
    assert content(writer)["xcom"] == []


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
                deadline = time.monotonic() + 30
                while not _waits(writer):
                    assert time.monotonic() < deadline, "nobody waits for the row"
                    await asyncio.sleep(0.02)
                assert not start.done()
                holder.commit()
                return (await start).status_code

    with psycopg.connect(server.url) as holder:
        holder.execute("UPDATE task_instance SET state = 'failed' WHERE id = %s", [ti])
        assert asyncio.run(go(holder)) == httpx.codes.CONFLICT


def _waits(writer: psycopg.Connection[Any]) -> bool:
    query = "SELECT 1 FROM pg_locks WHERE NOT granted"
    return writer.execute(query).fetchone() is not None


def test_it_fits_the_installed_airflow() -> None:
    assert execution_api_fit.misfits() == []


def test_each_misfit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(execution_api_fit.SOURCES, "xcoms.set_xcom", "0" * 16)
    monkeypatch.setitem(execution_api_fit.SOURCES, "xcoms.gone", "0" * 16)
    monkeypatch.setattr(execution_api_fit, "VERSIONS", ("9.9.9",))
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    version, changed, gone, teams, guard = execution_api_fit.misfits(["GZipMiddleware", "Guard"])
    assert "expected Airflow 9.9.9, found" in version
    assert changed.startswith("xcoms.set_xcom: expected source 0000000000000000, found")
    assert gone.startswith("xcoms.gone:")
    assert "multi_team" in teams
    assert guard == "expected no middleware of others, found Guard"


def test_another_airflow_is_served_as_it_is_and_told_loudly(
    application: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(execution_api_fit, "VERSIONS", ("9.9.9",))
    with caplog.at_level(logging.ERROR):
        assert execution_api_server.before(application) is application
    assert "does not shorten the calls of tasks" in caplog.text
    assert "Fix: install the locked Airflow" in caplog.text


def test_other_paths_are_handed_on() -> None:
    for method, path in [
        ("GET", f"/execution/task-instances/{OTHER}/run"),
        ("PATCH", f"/execution/task-instances/{OTHER}/skip-downstream"),
        ("PATCH", "/execution/task-instances/ABC/run"),
        ("GET", "/execution/xcoms/d/r/t/k"),
        ("POST", "/api/v2/dags/d/dagRuns"),
        ("PATCH", f"/elsewhere/execution/task-instances/{OTHER}/run"),
    ]:
        scope = {"method": method, "path": path, "query_string": b"", "headers": []}
        assert execution_api._plain(scope) is None
