"""Readiness: whether a part of this machine does its work now, asked of the part itself."""

from __future__ import annotations

import socket
import threading
import time
from datetime import datetime
from pathlib import Path

import httpx

from workers.command import node_name

#: Seconds to wait for an answer. No probe looks at the shell's proxies: all is on loopback.
TIMEOUT = 3
#: Seconds after which a relay without a sign of progress counts as stuck.
RELAY_LATE = 30
#: Probes run in threads, and celery (5.6) puts another module in its own place while it is loaded:
#: a second thread that imports from it meanwhile finds nothing in the first one.
_LOADING = threading.Lock()


def api_server_answers(url: str) -> bool:
    """Say whether the API server serves requests."""
    return _health(url) is not None


def execution_api_answers(url: str) -> bool:
    """Say whether an API server for tasks alone serves requests."""
    try:
        answer = httpx.get(f"{url}/execution/health", timeout=TIMEOUT, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.is_success


def job_beats(url: str, part: str, since: float) -> bool:
    """Say whether the scheduler, DAG processor or triggerer has a fresh heartbeat of this life."""
    name = part.replace("-", "_")
    found = (_health(url) or {}).get(name) or {}
    beat = found.get(f"latest_{name}_heartbeat")
    if found.get("status") != "healthy" or not beat:
        return False
    return datetime.fromisoformat(beat).timestamp() >= since


def _health(url: str) -> dict[str, dict[str, str]] | None:
    try:
        answer = httpx.get(f"{url}/api/v2/monitor/health", timeout=TIMEOUT, trust_env=False)
        answer.raise_for_status()
        content: dict[str, dict[str, str]] = answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    return content


def flower_answers(url: str) -> bool:
    """Say whether Flower serves requests."""
    try:
        answer = httpx.get(f"{url}/healthcheck", timeout=TIMEOUT, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK


def log_server_listens(address: str, port: int) -> bool:
    """Say whether the server of task logs answers; it refuses whoever has no signed request."""
    where = f"[{address}]" if ":" in address else address
    try:
        answer = httpx.get(f"http://{where}:{port}/log/", timeout=TIMEOUT, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR


def worker_consumes(broker_url: str, part: str) -> bool:
    """Say whether a worker of this machine answers and consumes from its queues."""
    # slow to load, and the other probes are asked of every host again and again
    with _LOADING:
        from celery import Celery  # noqa: PLC0415
        from kombu.exceptions import OperationalError  # noqa: PLC0415
        from redis import RedisError  # noqa: PLC0415

    node = node_name(part, socket.gethostname())
    with Celery(broker=broker_url, set_as_current=False) as app:
        inspect = app.control.inspect(destination=[node], timeout=TIMEOUT, limit=1)
        try:
            queues = inspect.active_queues()
        except (OSError, OperationalError, RedisError):
            # kombu hands on Redis's own when the connection breaks while it awaits the answer
            return False
    return bool((queues or {}).get(node))


def relay_beats(file: Path, since: float) -> bool:
    """Say whether the relay has touched its heartbeat file in this life and lately."""
    try:
        touched = file.stat().st_mtime
    except OSError:
        return False
    return touched >= max(since, time.time() - RELAY_LATE)
