"""Whether the installed Airflow's API server is the one that `execution_api` was read from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow import __version__
from airflow.api_fastapi import app as api_app
from airflow.api_fastapi.auth import tokens
from airflow.api_fastapi.common import http_access_log
from airflow.api_fastapi.common.db import common as sessions
from airflow.api_fastapi.execution_api import app as execution_app
from airflow.api_fastapi.execution_api import security
from airflow.api_fastapi.execution_api.datamodels import taskinstance, token, xcom
from airflow.api_fastapi.execution_api.routes import task_instances, xcoms
from airflow.api_fastapi.execution_api.versions import bundle
from airflow.configuration import conf
from airflow.utils import session
from cadwyn import Cadwyn

from airflow_config import sources

#: Airflow versions whose API server was read.
VERSIONS = ("3.3.2",)

_MODULES: dict[str, Any] = {
    "api_app": api_app,
    "tokens": tokens,
    "http_access_log": http_access_log,
    "sessions": sessions,
    "execution_app": execution_app,
    "security": security,
    "taskinstance": taskinstance,
    "token": token,
    "task_instances": task_instances,
    "xcoms": xcoms,
    "session": session,
    "xcom": xcom,
    "cadwyn": Cadwyn,
}

#: sha256 (first 16 digits) of the source of what is called, gone round, or relied on.
SOURCES = {
    "api_app.create_app": "2f95c1deb35c5ced",
    "execution_app.create_task_execution_api_app": "d1f969e0ef3c23cd",
    "execution_app._jwt_validator": "fb3757ff70c189a6",
    "execution_app._jwt_generator": "acf64f59b409bfe6",
    "execution_app.CorrelationIdMiddleware": "ceb1fb9c1620ee4c",
    "execution_app.JWTReissueMiddleware": "95bfac9615541e73",
    "execution_app._extract_w3c_trace_context": "149b584f7db69d78",
    "security.JWTBearer": "e6a6b8c037a9a550",
    "security.require_auth": "0d8dc283634b7819",
    "security.ExecutionAPIRoute": "b1ed2ad1d3580967",
    "tokens.JWTValidator": "ca14e436d1ebb97c",
    "tokens.JWTGenerator": "bb7620b63370b2ce",
    "token.TIClaims": "d5139acfcd3a103f",
    "token.TIToken": "6612d1d35026a101",
    "taskinstance.TIEnterRunningPayload": "73e71209e01e3068",
    "taskinstance.TIHeartbeatInfo": "521fbe036fdec56e",
    "taskinstance.TIRunContext": "03c108f44d349e17",
    "taskinstance.DagRun": "e25c9f2634afa2ee",
    "http_access_log.HttpAccessLogMiddleware": "70978fbdfb68d1a3",
    "sessions._get_session": "14bd8ac59b6b8621",
    "session.create_session": "fefd2633225e32f9",
    "task_instances.ti_run": "d6a38ab41dd6f9ad",
    "task_instances.ti_update_state": "8383c84994762e30",
    "task_instances.ti_put_rtif": "8b8a9af062391e44",
    "task_instances.ti_heartbeat": "4bf8e45ae5f3139a",
    "xcoms.has_xcom_access": "798c06a5f7f11377",
    "xcoms.set_xcom": "cd203e9a652e92f3",
    "xcoms.get_xcom": "d951cefe5dc6bd7d",
    "xcoms.GetXcomFilterParams": "0367eae93385e4ca",
    "xcom.XComResponse": "8e9cef007302509f",
    "cadwyn.__call__": "4109e13f00ee1eba",
    "cadwyn._cadwyn_initialize": "04fb250b6d9c6bb6",
}


#: What stands before every call, and changes nothing for a task's: access log, compression,
#: cookies of people.
MIDDLEWARES = {
    "HttpAccessLogMiddleware",
    "GZipMiddleware",
    "JWTRefreshMiddleware",
}


def misfits(middlewares: Iterable[str] = ()) -> list[str]:
    """Return why the short way must not be taken here; empty when it may.

    Parameters
    ----------
    middlewares
        Names of what the application puts before every call; plugins and auth managers may add.
    """
    found = []
    if __version__ not in VERSIONS:
        found.append(f"expected Airflow {' or '.join(VERSIONS)}, found {__version__}")
    found += sources.differences(SOURCES, _MODULES)
    if bundle.head_version.changes:
        found.append("expected the newest version of the API to be its head, found changes")
    # What of this installation the short way would go past:
    if conf.getboolean("core", "multi_team"):
        found.append("expected [core] multi_team off, found it on: XComs belong to teams then")
    if unknown := sorted(set(middlewares) - MIDDLEWARES):
        found.append(f"expected no middleware of others, found {', '.join(unknown)}")
    return found
