"""Each call is answered, and done, as Airflow's own application does it."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.execution_api_calls import BEAT, START, Server, both, headers_for, path_of, prepare

SUCCESS = {
    "state": "success",
    "end_date": "2026-01-01T00:00:05Z",
    "task_outlets": [],
    "outlet_events": [],
    "rendered_map_index": "one",
}
RETRY = {
    "state": "up_for_retry",
    "end_date": "2026-01-01T00:00:05Z",
    "retry_delay_seconds": 3.5,
    "retry_reason": "because",
}
DEFERRED = {
    "state": "deferred",
    "classpath": "a.B",
    "trigger_kwargs": {"x": 1},
    "trigger_timeout": "PT5S",
    "next_method": "again",
    "next_kwargs": {"y": [1, None]},
}
RESCHEDULED = {
    "state": "up_for_reschedule",
    "reschedule_date": "2026-01-01T00:01:00Z",
    "end_date": "2026-01-01T00:00:05Z",
}

#: State before, who asks (scope), method, path, body; and whether the short way answers.
Case = tuple[str | None, str, str, str, Any, bool]
CASES: dict[str, Case] = {
    "a queued task starts": ("queued", "workload", "PATCH", "run", START, True),
    "it starts with its own token": ("queued", "execution", "PATCH", "run", START, True),
    "it starts once more": ("running", "workload", "PATCH", "run", START, True),
    "another one starts it": ("running", "workload", "PATCH", "run", {**START, "pid": 8}, False),
    "an ended task starts": ("success", "workload", "PATCH", "run", START, False),
    "a start names no process": ("queued", "workload", "PATCH", "run", {"state": "running"}, False),
    "a start says too much": ("queued", "workload", "PATCH", "run", {**START, "x": 1}, False),
    "a deleted task starts": (None, "workload", "PATCH", "run", START, False),
    "a task ends well": ("running", "execution", "PATCH", "state", SUCCESS, True),
    "it says so again": ("success", "execution", "PATCH", "state", SUCCESS, True),
    "a task that does not run ends": ("queued", "execution", "PATCH", "state", SUCCESS, False),
    "a deleted task ends": (None, "execution", "PATCH", "state", SUCCESS, False),
    "a workload's token ends it": ("running", "workload", "PATCH", "state", SUCCESS, False),
    "a task fails": (
        *("running", "execution", "PATCH", "state"),
        {"state": "failed", "end_date": SUCCESS["end_date"]},
        True,
    ),
    "a task is skipped": (
        *("running", "execution", "PATCH", "state"),
        {"state": "skipped", "end_date": SUCCESS["end_date"]},
        True,
    ),
    "a task will try again": ("running", "execution", "PATCH", "state", RETRY, True),
    "a task is deferred": ("running", "execution", "PATCH", "state", DEFERRED, True),
    "a task is rescheduled": ("running", "execution", "PATCH", "state", RESCHEDULED, True),
    "an unknown state": ("running", "execution", "PATCH", "state", {"state": "gone"}, False),
    "no object": ("running", "execution", "PATCH", "state", "success", False),
    "fields are kept": ("running", "execution", "PUT", "rtif", {"a": "b", "c": [1, None]}, True),
    "no fields": ("running", "execution", "PUT", "rtif", [], False),
    "fields of a deleted task": (None, "execution", "PUT", "rtif", {"a": "b"}, False),
    "a heartbeat": ("running", "execution", "PUT", "heartbeat", BEAT, True),
    "a heartbeat of another": (
        *("running", "execution", "PUT", "heartbeat"),
        {**BEAT, "pid": 9},
        False,
    ),
    "a heartbeat after the end": ("success", "execution", "PUT", "heartbeat", BEAT, False),
    "a result": ("running", "execution", "POST", "xcom:return_value", {"a": [1.5, "\u00fc"]}, True),
    "a result that is null": ("running", "execution", "POST", "xcom:k", None, True),
    "a key with a slash": ("running", "execution", "POST", "xcom:a/b", 1, True),
    "a result of a mapped task": ("running", "execution", "POST", "xcom:k?map_index=2", 1, False),
    "a result is read": ("running", "execution", "GET", "found:small", None, True),
    "a large result is read": ("running", "execution", "GET", "found:large", None, True),
    "a result is read that is null": ("running", "execution", "GET", "found:null", None, True),
    "a result that is not there": ("running", "execution", "GET", "found:none", None, False),
    "a read with a body": ("running", "execution", "GET", "found:small", {}, False),
    "a read of a key with a slash": ("running", "execution", "GET", "found:a/b", None, False),
    "a read of a mapped task": (
        *("running", "execution", "GET", "found:small?map_index=0"),
        None,
        False,
    ),
    "a read of one of many": ("running", "execution", "GET", "found:small/item/0", None, False),
    "a read of a slice": ("running", "execution", "GET", "found:small/slice", None, False),
    "how many results": ("running", "execution", "HEAD", "found:small", None, False),
    "a read by a workload's token": ("running", "workload", "GET", "found:small", None, False),
    "a result by a workload's token": ("running", "workload", "POST", "xcom:k", 1, False),
}


@pytest.mark.parametrize("name", CASES)
def test_the_answer_and_the_database_are_as_airflow_leaves_them(
    server: Server, writer: psycopg.Connection[Any], name: str
) -> None:
    state, scope, method, path, body, short = CASES[name]

    def ask(ti: str) -> Any:
        headers = headers_for(ti, scope)
        if method in {"GET", "HEAD"} and body is None:
            del headers["content-type"]
            return method, path_of(path, ti), headers, b""
        return method, path_of(path, ti), headers, json.dumps(body).encode()

    stock, ours, answered = both(server, writer, state, ask)
    assert ours[0] == stock[0]
    assert ours[1] == stock[1]
    assert answered is short


@pytest.mark.parametrize(("key", "encoding"), [("large", "gzip"), ("small", None)])
def test_a_large_answer_is_compressed_where_the_application_does_it(
    server: Server, writer: psycopg.Connection[Any], key: str, encoding: str | None
) -> None:
    # of the whole application; the one with the execution API alone compresses nothing
    server.short._compression = {"minimum_size": 1024, "compresslevel": 5}
    ti = prepare(writer, "running")
    headers = headers_for(ti, "execution")
    del headers["content-type"]
    stock, ours = (
        server.ask(app, "GET", path_of(f"found:{key}", ti), headers, b"")
        for app in (server.app, server.short)
    )
    assert ours.content == stock.content
    assert ours.headers.get("content-encoding") == encoding
    assert server.handed_on == 0
