"""Airflow's public REST API, as far as the benchmark needs it; the same calls for both stacks."""

from __future__ import annotations

import time
from typing import Any

import httpx

from tests.benchmarks.errors import ApiError

#: Seconds for one call: a flooded API server is slow, and that is part of what is measured.
_TIMEOUT = 120


class Api:
    """A client that is logged in.

    Parameters
    ----------
    url
        Of the API server, without a slash at the end.
    token
        Its access token.
    """

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT, trust_env=False)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.RemoteProtocolError:
            # A kept connection that the server closed while it was not measured; the server has
            # not taken the request then, so that sending it again is safe.
            answer = self._http.request(method, path, **arguments)
        if answer.is_error:
            raise ApiError(f"{method} {path}: {answer.status_code} {answer.text[:400]}")
        return answer.json()

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> tuple[str, float]:
        """Start a run; return its id and when the call began (seconds since the epoch)."""
        called = time.time()
        answer = self._call(
            "POST", f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf}
        )
        return str(answer["dag_run_id"]), called

    def import_errors(self) -> list[str]:
        """Return what went wrong when the DAG files were read."""
        found = self._call("GET", "/api/v2/importErrors")
        return [f"{e['filename']}: {e['stack_trace']}" for e in found["import_errors"]]


def token(url: str, login: dict[str, str] | None = None) -> str:
    """Log in: with a name and password, or without where everybody is an administrator."""
    with httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False) as http:
        path = "/auth/token"
        answer = http.get(path) if login is None else http.post(path, json=login)
        answer.raise_for_status()
        return str(answer.json()["access_token"])
