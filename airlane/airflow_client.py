"""Airflow's public REST API as far as the command line needs it, with the operator's login."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import httpx

from deploy.local.stack import StackError

#: Seconds for one call; the API server is slow while it is flooded.
_TIMEOUT = 30
#: Entries of one answer: Airflow gives no more ([api] maximum_page_limit).
_PAGE = 100


class AirflowClient:
    """A client that logs in when it is entered.

    Parameters
    ----------
    url
        The API server's, without a slash at the end.
    password
        Of the login `admin`.
    ca_file
        Certificate authority of an https address; by default those that httpx trusts.
    """

    def __init__(self, url: str, password: str, *, ca_file: Path | None = None) -> None:
        # The shell's proxies and certificates are for others; what is trusted is said here.
        verify: ssl.SSLContext | bool = True
        if ca_file is not None:
            verify = ssl.create_default_context(cafile=str(ca_file))
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False, verify=verify)
        self._password = password

    def __enter__(self) -> Self:
        login = {"username": "admin", "password": self._password}
        answer = self.call("POST", "/auth/token", json=login)
        self._http.headers["Authorization"] = f"Bearer {answer['access_token']}"
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Return the JSON of an answer; raise `StackError` for any but a good one."""
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise StackError(
                f"expected Airflow's API at {self._http.base_url}, found: "
                f"{type(error).__name__} {error}. Fix: airlane status"
            ) from error
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            raise StackError(
                f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:300]}"
            )
        try:
            return answer.json()
        except ValueError:
            raise StackError(
                f"expected JSON from Airflow's API at {self._http.base_url}, found: "
                f"{answer.text[:100]!r}. Fix: airlane status; is it another program's port?"
            ) from None

    def pages(self, path: str, name: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list, page by page."""
        start = 0
        while True:
            found = self.call("GET", path, params={"limit": _PAGE, "offset": start, **params})
            yield from found[name]
            start += _PAGE
            if start >= found["total_entries"]:
                return

    def dags(self) -> set[str]:
        """Return the ids of the DAGs that are parsed and can run."""
        return {dag["dag_id"] for dag in self.pages("/api/v2/dags", "dags", exclude_stale=True)}

    def import_errors(self) -> list[str]:
        """Return what went wrong when the DAG files were read."""
        found = self.call("GET", "/api/v2/importErrors")
        return [f"{e['filename']}: {e['stack_trace']}" for e in found["import_errors"]]

    def trigger(self, dag_id: str) -> str:
        """Start a run now and return its id."""
        answer = self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None})
        return str(answer["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return a run's state: queued, running, success or failed."""
        return str(self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def runs(self, dag_id: str, *states: str) -> list[str]:
        """Return the ids of a DAG's runs in these states."""
        path = f"/api/v2/dags/{dag_id}/dagRuns"
        found = self.call("GET", path, params={"state": states, "limit": 100})
        return [run["dag_run_id"] for run in found["dag_runs"]]

    def pools(self) -> dict[str, dict[str, Any]]:
        """Return each pool's slots: total, running, queued, scheduled, open."""
        return {pool["name"]: pool for pool in self.pages("/api/v2/pools", "pools")}
