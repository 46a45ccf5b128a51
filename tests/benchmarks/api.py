"""Airflow's public REST API, as far as the benchmark needs it; the same calls for both stacks."""

from __future__ import annotations

import time
import uuid
from typing import Any

import httpx

from tests.benchmarks.errors import ApiError

#: Seconds for one call: a flooded API server is slow, and that is part of what is measured.
_TIMEOUT = 120
#: Seconds after which a call that fails is not made again, and between two calls.
_PATIENCE, _PAUSE = 150, 0.1


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

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> tuple[str, float]:
        """Start a run; return its id and when the call began (seconds since the epoch).

        A server that is flooded answers 500 when all its connections to the database are in use
        for half a minute: the call is made again, as any caller would, and the time counts.
        """
        called = time.time()
        # a name of its own: a run that was made though the answer was lost is not made twice
        run_id = f"bench__{uuid.uuid4()}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        path = f"/api/v2/dags/{dag_id}/dagRuns"
        while True:
            why = self._post(path, body)
            if not why:
                return run_id, called
            if time.time() > called + _PATIENCE:
                raise ApiError(f"POST {path}: {why}")
            time.sleep(_PAUSE)

    def _post(self, path: str, body: dict[str, Any]) -> str:
        """Return why a call that may be made again failed; empty when it did not."""
        try:
            answer = self._http.post(path, json=body)
        except httpx.TransportError as error:
            # also a kept connection that the server closed while its stack was at rest
            return f"{type(error).__name__}: {error}"
        if answer.status_code == httpx.codes.CONFLICT or answer.is_success:
            return ""
        why = f"{answer.status_code} {answer.text[:400]}"
        if answer.is_server_error:
            return why
        raise ApiError(f"POST {path}: {why}")


def token(url: str, login: dict[str, str] | None = None) -> str:
    """Log in: with a name and password, or without where everybody is an administrator."""
    with httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False) as http:
        path = "/auth/token"
        answer = http.get(path) if login is None else http.post(path, json=login)
        answer.raise_for_status()
        return str(answer.json()["access_token"])
