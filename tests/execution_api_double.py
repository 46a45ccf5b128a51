"""A real HTTP server with the answers of Airflow 3.3's execution API that a task needs.

It keeps every request, with the connection that it came by. The true API is tested in
tests/acceptance.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from uuid import UUID, uuid5

from tests.servers import wait_until

_SPACE = UUID(int=0)
_TIME = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Call:
    """A request that was answered."""

    method: str
    path: str
    token: str
    connection: int
    body: Any


@dataclass
class Task:
    """A task instance as the server knows it."""

    id: str
    dag_id: str
    task_id: str
    run_id: str
    state: str = "queued"
    xcoms: dict[str, Any] = field(default_factory=dict)


class ExecutionApiDouble:
    """The server and its state."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.tasks: dict[str, Task] = {}
        #: Tokens that the server hands out in its answers: task id -> token.
        self.refreshed: dict[str, str] = {}
        self.max_tries = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, dag_id: str, task_id: str, run_id: str) -> Task:
        """Make a task instance that can be started."""
        found = Task(str(uuid5(_SPACE, f"{dag_id} {task_id} {run_id}")), dag_id, task_id, run_id)
        self.tasks[found.id] = found
        return found

    def workload(self, task: Task, dag_file: str, queue: str, token: str) -> str:
        """Return the message by which Airflow's executor sends a task."""
        ti = {
            "id": task.id,
            "dag_version_id": str(_SPACE),
            "task_id": task.task_id,
            "dag_id": task.dag_id,
            "run_id": task.run_id,
            "try_number": 1,
            "map_index": -1,
            "pool_slots": 1,
            "queue": queue,
            "priority_weight": 1,
        }
        return json.dumps(
            {
                "token": token,
                "ti": ti,
                "dag_rel_path": dag_file,
                "bundle_info": {"name": "dags-folder", "version": None},
                "log_path": f"{task.run_id}/{task.task_id}.log",
                "type": "ExecuteTask",
            }
        )

    def calls_of(self, task: Task) -> list[Call]:
        """Return what was asked about a task, in order."""
        return [call for call in self.calls if task.id in call.path]

    def wait_for(self, *tasks: Task) -> None:
        """Await the end of tasks."""
        wait_until(
            lambda: all(task.state not in {"queued", "running"} for task in tasks),
            f"{[task.task_id for task in tasks if task.state in {'queued', 'running'}]} to end",
        )

    def _answer(self, path: str, body: Any) -> tuple[int, Any]:
        found = re.fullmatch(r"/execution/task-instances/([^/]+)/(\w+)", path)
        if found and found[1] in self.tasks:
            task = self.tasks[found[1]]
            match found[2]:
                case "run":
                    task.state = "running"
                    return 200, self._context(task)
                case "state":
                    task.state = body["state"]
            return 204, None
        if found := re.match(r"/execution/xcoms/([^/]+)/([^/]+)/([^/]+)/([^/?]+)", path):
            for task in self.tasks.values():
                if (task.dag_id, task.run_id, task.task_id) == (found[1], found[2], found[3]):
                    task.xcoms[found[4]] = body
            return 201, {"message": "ok"}
        return 404, {"detail": {"reason": "not_found", "message": path}}

    def _context(self, task: Task) -> dict[str, Any]:
        run = {
            "dag_id": task.dag_id,
            "run_id": task.run_id,
            "logical_date": None,
            "data_interval_start": None,
            "data_interval_end": None,
            "run_after": _TIME,
            "start_date": _TIME,
            "end_date": None,
            "run_type": "manual",
            "state": "running",
            "consumed_asset_events": [],
            "partition_key": None,
        }
        return {"dag_run": run, "max_tries": self.max_tries, "should_retry": self.max_tries > 0}

    def _handler(double) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                token = self.headers.get("authorization", "").removeprefix("Bearer ")
                port = self.client_address[1]
                double.calls.append(Call(self.command, self.path, token, port, body))
                status, answer = double._answer(self.path, body)
                content = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                for task, fresh in double.refreshed.items():
                    if task in self.path:
                        self.send_header("Refreshed-API-Token", fresh)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - its names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
