"""A real HTTP server with the answers of Airflow 3.3's DagRun routes.

Kept to what airflow/api_fastapi/core_api/routes/public/dag_run.py and the FAB provider's login do;
the true API is tested in tests/acceptance.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections import Counter, deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.local.ports import free_port
from tests.servers import wait_until

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
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # a number of our own choice stays ours while nobody listens
        self._socket.bind(("127.0.0.1", free_port()))
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
            Route("/api/v2/dags/{dag_id}/dagRuns", self._list),
            Route("/api/v2/dags/{dag_id}/dagRuns", self._trigger, methods=["POST"]),
            Route("/api/v2/dags/{dag_id}/dagRuns/{run_id}", self._run),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        listening = self._socket.dup()
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        server = self._server
        wait_until(lambda: server.started, "the double of Airflow's API to serve")

    def stop(self) -> None:
        """Refuse every connection until it is started again."""
        assert self._server
        assert self._thread
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(20)
        self._server = None
        # else the system would go on taking connections, and whoever calls would wait for an answer
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def add_run(
        self,
        run_id: str,
        conf: dict[str, Any] | None,
        state: str = "queued",
        ended: datetime | None = None,
    ) -> None:
        if ended is None and state in {"success", "failed"}:
            ended = datetime.now(UTC)
        self.runs[run_id] = {
            "dag_run_id": run_id,
            "conf": conf,
            "state": state,
            "end_date": ended and ended.isoformat(),
        }

    def events(self) -> list[str]:
        return sorted(run["conf"]["event"]["event_id"] for run in list(self.runs.values()))

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
        self.calls["dag"] += 1
        return self._refusal(request) or JSONResponse(
            {"dag_id": dag_id, "is_paused": dag_id in self.paused}
        )

    async def _list(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        query = request.query_params
        runs = [
            run
            for run in self.runs.values()
            if not query.getlist("state") or run["state"] in query.getlist("state")
        ]
        if "end_date_gte" in query:
            # A run without an end passes each lower bound.
            least = datetime.fromisoformat(query["end_date_gte"])
            runs = [run for run in runs if (_end(run) or least) >= least]
        ordered = query.get("order_by") == "end_date"
        # The place of a run in `runs` stands for its id, by which the API orders equals.
        places = {run_id: place for place, run_id in enumerate(self.runs)}
        found = sorted(
            ([*(_by_end(run) if ordered else ()), places[run["dag_run_id"]]], run) for run in runs
        )
        limit = min(int(query.get("limit", 50)), 100)
        if "cursor" not in query:
            page = [run for _, run in found[int(query.get("offset", 0)) :][:limit]]
            return JSONResponse({"dag_runs": page, "total_entries": len(found)})
        if query["cursor"]:
            found = [(place, run) for place, run in found if place > json.loads(query["cursor"])]
        more = len(found) > limit
        return JSONResponse(
            {
                "dag_runs": [run for _, run in found[:limit]],
                "total_entries": len(runs),
                "next_cursor": json.dumps(found[limit - 1][0]) if more else None,
            }
        )

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


def _end(run: dict[str, Any]) -> datetime | None:
    return datetime.fromisoformat(run["end_date"]) if run["end_date"] else None


def _by_end(run: dict[str, Any]) -> list[Any]:
    """Order by the end; PostgreSQL puts those without one last."""
    end = _end(run)
    return [end is None, end.timestamp() if end else 0.0]
