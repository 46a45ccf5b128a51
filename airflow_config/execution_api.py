"""A short way through the API server for the six calls that most tasks make.

Each of them costs the server far more in what lies around its endpoint (four middlewares with a
task group each, dependencies solved twice, body and token validated twice, three hops between
threads) than in the endpoint itself. Here a request goes straight to Airflow's own endpoint, with
its own token validation and its own data models, in one hop.

Only what is plain goes the short way, and only success is answered there. A request with anything
unusual, and one that the endpoint refuses (its transaction is rolled back then), goes to Airflow's
application as it came, which gives its own answer. Read from Airflow 3.3.2; `execution_api_fit`
says whether the installed one is that.
"""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from airflow.api_fastapi.execution_api.app import _jwt_generator, _jwt_validator
from airflow.configuration import conf
from fastapi import HTTPException
from fastapi.middleware.gzip import GZipMiddleware
from jwt import InvalidTokenError
from opentelemetry import context as otel_context
from opentelemetry import propagate as otel_propagate
from structlog.contextvars import bind_contextvars

from airflow_config import execution_api_calls as calls
from airflow_config.execution_api_tokens import Claims

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from airflow_config.execution_api_versions import Versions

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Bytes of an answer from which on Airflow may compress it.
_LARGE = 500
#: Endpoints that run at the same time, as many as Airflow lets run.
THREADS = 40

#: Headers that say how a request is to be understood; others may be there, they change nothing.
_VERSION, _TOKEN, _TYPE = b"airflow-api-version", b"authorization", b"content-type"
#: A browser's, an id that the log must name, or a client that waits for leave to send its body.
_UNUSUAL = {b"cookie", b"origin", b"x-request-id", b"expect"}
#: Of a trace that goes on here (`_extract_w3c_trace_context`).
_TRACE = (b"traceparent", b"tracestate", b"baggage")

_ID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_OF_TASK = re.compile(rf"/execution/task-instances/({_ID})/([a-z]+)", re.ASCII)
_XCOM = re.compile(r"/execution/xcoms/([^/]+)/([^/]+)/([^/]+)/(.+)")

_access = structlog.get_logger(logger_name="http.access")
_log = structlog.get_logger(__name__)


class ShortWay:
    """An ASGI application before Airflow's: answers what is plain, hands on all else.

    Parameters
    ----------
    app
        Airflow's application.
    dag_bag
        Its cache of DAGs, which endpoints use.
    versions
        Of its execution API, for which a call that is handed on waits.
    compression
        The options of its `GZipMiddleware`; None when it has none.
    """

    def __init__(
        self,
        app: App,
        dag_bag: Any,
        versions: Versions,
        compression: Mapping[str, Any] | None = None,
    ) -> None:
        self._app = app
        self._compression = compression
        self._versions = versions
        self._claims = Claims(_jwt_validator())
        self._tools = calls.Tools(dag_bag, _jwt_generator())
        mode = conf.get("execution_api", "otel_trace_propagation", fallback="only-authenticated")
        self._traces = mode in ("only-authenticated", "unsafe-always")
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="execution-api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Not before: the server would be up later by what that takes.
        self._versions.start()
        call = _plain(scope)
        if call is None:
            await self._hand_on(scope, receive, send)
            return
        started = time.monotonic_ns()
        messages = await _messages(receive)
        body = _body(messages)
        if body is None:
            # Airflow's application would answer 400, to nobody.
            _log.info("The client went away before it had sent all", path=scope["path"])
            return
        answer = await self._answer(call, body)
        if answer is None:
            await self._hand_on(scope, _again(messages, receive), send)
            return
        answer.headers.append((_VERSION, call.version))
        if call.correlation_id:
            answer.headers.append((b"correlation-id", call.correlation_id))
        respond: App = partial(_respond, answer)
        if self._compression is not None and len(answer.body) >= _LARGE:
            respond = GZipMiddleware(respond, **self._compression)
        await respond(scope, receive, send)
        _note(scope, answer.status, started)

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/execution/"):
            await self._versions.ready()
        await self._app(scope, receive, send)

    async def _answer(self, call: calls.Call, body: bytes) -> calls.Answer | None:
        try:
            claims = await self._claims.of(call.token)
            work = call.prepared(claims, body)
            if work is None:
                return None
            loop = asyncio.get_running_loop()
            # A context of its own: endpoints bind what their log lines name.
            context = copy_context()
            if call.correlation_id:
                id_of_call = call.correlation_id.decode("latin-1")
                context.run(partial(bind_contextvars, correlation_id=id_of_call))
            if call.trace and self._traces:
                context.run(otel_context.attach, otel_propagate.extract(call.trace))
            return await loop.run_in_executor(self._threads, context.run, work, self._tools)
        except (HTTPException, InvalidTokenError, ValueError) as error:
            _log.debug("Handed on", error=repr(error))
        except Exception:
            # Airflow's application tries again, as the worker itself would after an error 500.
            _log.warning("Handed on", exc_info=True)
        return None


def _plain(scope: Scope) -> calls.Call | None:
    """Return what a request asks for; None when it is to be handed on."""
    path, query = scope["path"], scope["query_string"]
    if found := _OF_TASK.fullmatch(path):
        kind = calls.OF_TASK.get((scope["method"], found[2]))
        arguments: tuple[str, ...] = (found[1],)
        if query:
            return None
    elif found := _XCOM.fullmatch(path):
        kind, arguments = calls.OF_XCOM.get(scope["method"]), found.groups()
    else:
        return None
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in headers or name in _UNUSUAL:
            return None
        headers[name] = value
    kind_of_token, _, token = headers.get(_TOKEN, b"").partition(b" ")
    if (
        kind is None
        or kind_of_token != b"Bearer"
        or headers.get(_VERSION) != calls.VERSION
        or headers.get(_TYPE) != kind.TYPE
    ):
        return None
    return kind(
        arguments=arguments,
        query=query,
        token=token.decode("latin-1"),
        version=calls.VERSION,
        correlation_id=headers.get(b"correlation-id"),
        trace={n.decode(): headers[n].decode("latin-1") for n in _TRACE if n in headers},
    )


async def _respond(answer: calls.Answer, _scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _messages(receive: Receive) -> list[MutableMapping[str, Any]]:
    found = [await receive()]
    while found[-1].get("more_body"):
        found.append(await receive())
    return found


def _body(messages: list[MutableMapping[str, Any]]) -> bytes | None:
    """Return the whole body; None when the client went away before it had sent all."""
    if any(message["type"] != "http.request" for message in messages):
        return None
    return b"".join(message.get("body", b"") for message in messages)


def _again(messages: list[MutableMapping[str, Any]], receive: Receive) -> Receive:
    """Return a `receive` that gives what was read already once more."""
    left = iter(messages)

    async def give() -> MutableMapping[str, Any]:
        found = next(left, None)
        return await receive() if found is None else found

    return give


def _note(scope: Scope, status: int, started: int) -> None:
    """Write the line of the access log, as Airflow's middleware does, but for who debugs."""
    client = scope.get("client")
    _access.debug(
        "request finished",
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("ascii", errors="replace"),
        status_code=status,
        duration_us=(time.monotonic_ns() - started) // 1000,
        client_addr=f"{client[0]}:{client[1]}" if client else None,
    )
