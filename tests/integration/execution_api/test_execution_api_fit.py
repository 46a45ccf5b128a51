"""The short way is taken with the Airflow that it was read from only, by its calls only."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from airflow_config import execution_api, execution_api_fit, execution_api_server
from airflow_config.execution_api_versions import Versions
from tests.execution_api_calls import OTHER


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
        ("HEAD", "/execution/xcoms/d/r/t/k"),
        ("POST", "/api/v2/dags/d/dagRuns"),
        ("PATCH", f"/elsewhere/execution/task-instances/{OTHER}/run"),
    ]:
        scope = {"method": method, "path": path, "query_string": b"", "headers": []}
        assert execution_api._plain(scope) is None


class _Api:
    """An execution API whose versions are made when it is told so."""

    _cadwyn_initialized = False

    def __init__(self, error: Exception | None = None) -> None:
        self.may, self.made, self.error = threading.Event(), 0, error

    def _cadwyn_initialize(self) -> None:
        assert self.may.wait(60)
        self.made += 1
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [None, ValueError("broken")])
def test_calls_wait_for_the_versions_that_a_thread_makes(error: Exception | None) -> None:
    api = _Api(error)
    versions = Versions(api)
    for _ in range(2):
        versions.start()

    async def go() -> None:
        waiting = [asyncio.create_task(versions.ready()) for _ in range(2)]
        await asyncio.sleep(0)
        # who goes away takes nothing from the others
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        assert not waiting[1].done()
        api.may.set()
        await waiting[1]
        await versions.ready()

    asyncio.run(go())
    assert api.made == 1


def test_only_calls_of_the_execution_api_wait_for_its_versions() -> None:
    asked: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        asked.append(scope["path"])

    class Never:
        def start(self) -> None:
            asked.append("starts")

        async def ready(self) -> None:
            asked.append("waits")

    short = execution_api.ShortWay.__new__(execution_api.ShortWay)
    short._app, short._versions = app, Never()  # type: ignore[assignment]
    for path in ("/api/v2/dags", "/execution/connections/c"):
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
        asyncio.run(short(scope, None, None))  # type: ignore[arg-type]
    assert asked == ["starts", "/api/v2/dags", "starts", "waits", "/execution/connections/c"]
