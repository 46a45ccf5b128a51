"""Airflow's public REST API as far as the intake needs it.

Create runs, count them, list those that failed, see a pause.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from datetime import datetime
from enum import Enum
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from intake.events import SignupEvent

#: Seconds for one call: creating a run takes 25-50 ms, on a busy API server some hundred.
_TIMEOUT = httpx.Timeout(15, connect=5)
#: Runs in one page of a list: each may carry a payload of 64 KiB.
_PAGE = 50

#: What Airflow's 400 says when it refuses this run for ever, by run id or conf
#: (serialization/definitions/dag.py: create_dagrun; definitions/param.py: resolve).
_REFUSED = re.compile(
    r"run_id|run id|must not contain '\.\.'|is reserved for|Invalid input for param|No value passed"
)
#: What it says when the DAG, not the event, is at fault (routes/public/dag_run.py).
_DAG_AT_FAULT = re.compile(r"has import errors|does not allow manual runs")


class RetryLaterError(Exception):
    """The API could not do it now; the event is not to blame. Back off and ask again."""


class RefusedError(Exception):
    """Airflow will never create this run; the message is the reason on the dead letter."""


class Outcome(Enum):
    """What became of a run that was to be created."""

    CREATED = "created"
    #: The same event has its run already.
    THERE_ALREADY = "there already"
    #: Another event has a run of this id.
    CONFLICT = "conflict"


class AirflowApi:
    """An asynchronous client that logs in by itself, and again when its token is refused.

    Parameters
    ----------
    url
        Address of the API server, without a slash at the end.
    user, password
        The service account.
    dag_id
        The DAG whose runs are created.
    ca_file
        Certificate authority of an https address; by default those that httpx trusts.
    """

    def __init__(
        self, url: str, user: str, password: str, dag_id: str, *, ca_file: str | None = None
    ) -> None:
        # The shell's proxies and certificates are for others; what is trusted is said here.
        verify: ssl.SSLContext | bool = True
        if ca_file:
            verify = ssl.create_default_context(cafile=ca_file)
        self._http = httpx.AsyncClient(
            base_url=url, timeout=_TIMEOUT, trust_env=False, verify=verify
        )
        self._login = {"username": user, "password": password}
        self._runs = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns"
        self._token: str | None = None
        self._renewing = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def create_run(self, event: SignupEvent) -> Outcome:
        """Create the run of an event.

        Raises
        ------
        RetryLaterError
            The API is away, overloaded, refuses our login, or the DAG cannot run now.
        RefusedError
            This event can never become a run.
        """
        body = {
            "dag_run_id": event.run_id,
            "logical_date": None,
            "conf": event.conf(),
        }
        answer = await self._call("POST", self._runs, json=body)
        if answer.status_code == HTTPStatus.OK:
            return Outcome.CREATED
        if answer.status_code == HTTPStatus.CONFLICT:
            return await self._compare(event)
        reason = _detail(answer)
        if answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
            raise RefusedError(f"Airflow refused the run (422): {reason}")
        if answer.status_code == HTTPStatus.BAD_REQUEST and not _DAG_AT_FAULT.search(reason):
            # An unknown 400 blames the request too, and a dead letter can be replayed, while an
            # entry retried for ever would take a place in flight from others.
            known = "" if _REFUSED.search(reason) else "unexpectedly "
            raise RefusedError(f"Airflow {known}refused the run (400): {reason}")
        raise RetryLaterError(f"creating a run: HTTP {answer.status_code}: {reason}")

    async def _compare(self, event: SignupEvent) -> Outcome:
        answer = await self._call("GET", f"{self._runs}/{quote(event.run_id, safe='')}")
        if answer.status_code != HTTPStatus.OK:
            # Also 404: the run was deleted between the two calls.
            raise RetryLaterError(f"reading a run: HTTP {answer.status_code}: {_detail(answer)}")
        same = event.is_same(_json(answer).get("conf"))
        return Outcome.THERE_ALREADY if same else Outcome.CONFLICT

    async def active_runs(self) -> int:
        """Return how many runs are queued or running."""
        answer = await self._call(
            "GET", self._runs, params={"state": ["queued", "running"], "limit": 1}
        )
        if answer.status_code != HTTPStatus.OK:
            raise RetryLaterError(f"counting runs: HTTP {answer.status_code}: {_detail(answer)}")
        return int(_json(answer)["total_entries"])

    async def failed_runs(self, since: datetime) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield pages of the runs in state failed that ended at `since` or later, in that order.

        The API adds those without an end. A page begins behind the last run of the one before, not
        at a number, so a run that fails or is cleared meanwhile moves no other out of sight.

        Raises
        ------
        RetryLaterError
            The API cannot say it now.
        """
        cursor: str | None = ""
        while cursor is not None:
            answer = await self._call(
                "GET",
                self._runs,
                params={
                    "state": "failed",
                    "end_date_gte": since.isoformat(),
                    "order_by": "end_date",
                    "limit": _PAGE,
                    "cursor": cursor,
                },
            )
            if answer.status_code != HTTPStatus.OK:
                raise RetryLaterError(
                    f"listing failed runs: HTTP {answer.status_code}: {_detail(answer)}"
                )
            page = _json(answer)
            yield page["dag_runs"]
            cursor = page["next_cursor"]

    async def is_paused(self, dag_id: str) -> bool:
        """Tell whether a DAG is paused."""
        answer = await self._call("GET", f"/api/v2/dags/{quote(dag_id, safe='')}")
        if answer.status_code != HTTPStatus.OK:
            raise RetryLaterError(f"reading {dag_id}: HTTP {answer.status_code}: {_detail(answer)}")
        return bool(_json(answer)["is_paused"])

    async def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            token = self._token or await self._renew(None)
            answer = await self._send(method, path, token, arguments)
            if answer.status_code == HTTPStatus.UNAUTHORIZED:
                answer = await self._send(method, path, await self._renew(token), arguments)
        except httpx.HTTPError as error:
            raise RetryLaterError(
                f"Airflow's API at {self._http.base_url} does not answer: "
                f"{type(error).__name__} {error}"
            ) from error
        return answer

    async def _send(
        self, method: str, path: str, token: str, arguments: dict[str, Any]
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return await self._http.request(method, path, headers=headers, **arguments)

    async def _renew(self, refused: str | None) -> str:
        """Log in, once for all calls whose token was refused together."""
        async with self._renewing:
            if self._token is None or self._token == refused:
                self._token = None
                answer = await self._http.post("/auth/token", json=self._login)
                if answer.status_code != HTTPStatus.CREATED:
                    raise RetryLaterError(
                        f"logging in as {self._login['username']}: HTTP {answer.status_code}: "
                        f"{_detail(answer)}"
                    )
                self._token = str(_json(answer)["access_token"])
            return self._token


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError as error:
        raise RetryLaterError(f"expected JSON, found {answer.text[:80]!r}") from error
    if not isinstance(value, dict):
        raise RetryLaterError(f"expected a JSON object, found {answer.text[:80]!r}")
    return value


def _detail(answer: httpx.Response) -> str:
    """Return what an error answer says, shortened."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text
    return str(detail)[:500]
