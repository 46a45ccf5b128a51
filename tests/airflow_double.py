"""A real HTTP server with the answers of Airflow 3.3's DagRun routes.

Kept to what airflow/api_fastapi/core_api/routes/public/dag_run.py and the FAB provider's login do;
the true API is tested in tests/acceptance.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections import Counter, deque
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

USER, PASSWORD = "intake", "secret"
_RUN_ID = "^[A-Za-z0-9_.~:+-]+$"


class AirflowDouble:
    """The server and its state; change the attributes to make it behave otherwise."""

    def __init__(self) -> None:
        #: Runs of `onboarding` by run id.
        self.runs: dict[str, dict[str, Any]] = {}
        self.paused: set[str] = set()
        self.dags = {"onboarding", "signup_listener"}
        self.import_errors = False
        self.token = "t1"
        #: Answers to give to the next calls instead: (method, status, detail).
        self.faults: deque[tuple[str, int, str]] = deque()
        #: Events by their id for which creating a run always ends in 500.
        self.poison: set[str] = set()
        self.calls: Counter[str] = Counter()
        #: Seconds that creating a run takes, and the most that were created at the same time.
        self.delay = 0.0
        self.in_flight = self.most_in_flight = 0
        #: Runs created count as active until this is cleared.
        self.runs_stay_active = False
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server:
            self.stop()
        self._socket.close()

    def start(self) -> None:
        routes = [
            Route("/auth/token", self._login, methods=["POST"]),
            Route("/api/v2/dags/{dag_id}", self._dag),
            Route("/api/v2/dags/{dag_id}/dagRuns", self._count),
            Route("/api/v2/dags/{dag_id}/dagRuns", self._trigger, methods=["POST"]),
            Route("/api/v2/dags/{dag_id}/dagRuns/{run_id}", self._run),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        listening = self._socket.dup()
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        end = time.monotonic() + 20
        while not self._server.started and time.monotonic() < end:
            time.sleep(0.01)

    def stop(self) -> None:
        assert self._server
        assert self._thread
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(20)
        self._server = None

    def add_run(self, run_id: str, conf: dict[str, Any], state: str = "queued") -> None:
        self.runs[run_id] = {"dag_run_id": run_id, "conf": conf, "state": state}

    def events(self) -> list[str]:
        return sorted(run["conf"]["event"]["event_id"] for run in self.runs.values())

    def _refusal(self, request: Request) -> Response | None:
        self.calls[f"{request.method} {request.url.path}"] += 1
        self.calls[request.method] += 1
        if self.faults and self.faults[0][0] == request.method:
            _, status, detail = self.faults.popleft()
            return JSONResponse({"detail": detail}, status)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return JSONResponse({"detail": "Invalid JWT token"}, 401)
        dag_id = request.path_params["dag_id"]
        if dag_id not in self.dags:
            return JSONResponse({"detail": f"Dag with dag_id: '{dag_id}' not found"}, 404)
        return None

    async def _login(self, request: Request) -> Response:
        self.calls["login"] += 1
        if await request.json() != {"username": USER, "password": PASSWORD}:
            return JSONResponse({"detail": "Invalid credentials"}, 401)
        return JSONResponse({"access_token": self.token}, 201)

    async def _dag(self, request: Request) -> Response:
        dag_id = request.path_params["dag_id"]
        return self._refusal(request) or JSONResponse(
            {"dag_id": dag_id, "is_paused": dag_id in self.paused}
        )

    async def _count(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        states = request.query_params.getlist("state")
        active = [run for run in self.runs.values() if run["state"] in states]
        limit = int(request.query_params["limit"])
        return JSONResponse({"dag_runs": active[:limit], "total_entries": len(active)})

    async def _run(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        run = self.runs.get(request.path_params["run_id"])
        if run is None:
            return JSONResponse({"detail": "The DagRun was not found"}, 404)
        return JSONResponse(run)

    async def _trigger(self, request: Request) -> Response:  # noqa: PLR0911 - the route's answers
        if refusal := self._refusal(request):
            return refusal
        body = await request.json()
        if "logical_date" not in body or body["logical_date"] is not None:
            return JSONResponse({"detail": [{"msg": "Field required"}]}, 422)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(self.delay)
        self.in_flight -= 1
        if self.import_errors:
            detail = "Dag with dag_id: 'onboarding' has import errors and cannot be triggered"
            return JSONResponse({"detail": detail}, 400)
        run_id = body["dag_run_id"]
        if ".." in run_id:
            detail = f"The run_id '{run_id}' must not contain '..' to prevent path traversal"
            return JSONResponse({"detail": detail}, 400)
        if not re.match(_RUN_ID, run_id):
            detail = f"The run_id provided '{run_id}' does not match regex pattern '{_RUN_ID}'"
            return JSONResponse({"detail": detail}, 400)
        if body["conf"]["event"]["event_id"] in self.poison:
            return JSONResponse({"detail": "Internal Server Error"}, 500)
        if run_id in self.runs:
            detail = {"reason": "Unique constraint violation", "statement": "hidden"}
            return JSONResponse({"detail": detail}, 409)
        self.add_run(run_id, body["conf"], "running" if self.runs_stay_active else "success")
        return JSONResponse(self.runs[run_id])
