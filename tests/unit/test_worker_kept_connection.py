"""One connection for the tasks of a process, and for each task a client of its own."""

from __future__ import annotations

import os

import httpx
import pytest
from airflow.sdk.api.client import Client

from tests.execution_api_double import ExecutionApiDouble
from workers.kept_connection import Connections, KeptTransport


@pytest.fixture
def api():
    with ExecutionApiDouble() as found:
        yield found


@pytest.fixture
def connections():
    found = Connections()
    yield found
    found.forget()


def call(connections: Connections, api: ExecutionApiDouble, token: str, run: str) -> Client:
    """Do what a task's supervisor does: a client by Airflow, and ours in its place."""
    task = api.add("d", "t", run)
    with Client(base_url=f"{api.url}/execution/", token=token) as stock:
        client = connections.client_like(stock)
        client.put(f"task-instances/{task.id}/heartbeat", json={})
        client.put(f"task-instances/{task.id}/heartbeat", json={})
    return client


def test_tasks_share_a_connection_and_no_token(api, connections):
    clients = [call(connections, api, f"token-{n}", f"r{n}") for n in range(3)]
    assert [call.token for call in api.calls] == [f"token-{n}" for n in range(3) for _ in (1, 2)]
    assert len({call.connection for call in api.calls}) == 1
    assert len(set(map(id, clients))) == 3


def test_a_refreshed_token_stays_with_its_task(api, connections):
    api.refreshed[api.add("d", "t", "r1").id] = "fresh"
    call(connections, api, "old", "r1")
    call(connections, api, "other", "r2")
    assert [call.token for call in api.calls] == ["old", "fresh", "other", "other"]


def test_closing_a_client_leaves_the_connection(api, connections):
    call(connections, api, "a", "r1").close()
    call(connections, api, "b", "r2")
    assert len({call.connection for call in api.calls}) == 1


def test_a_forgotten_connection_is_made_anew(api, connections):
    call(connections, api, "a", "r1")
    connections.forget()
    call(connections, api, "b", "r2")
    assert len({call.connection for call in api.calls}) == 2


def test_a_client_that_does_not_send_is_left_as_it_is():
    with Client(base_url=None, dry_run=True, token="t") as client:
        assert Connections().client_like(client) is client


def test_a_client_behind_a_proxy_is_left_as_it_is(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Client(base_url="http://airflow.example/", token="t") as client:
        assert Connections().client_like(client) is client


def test_a_forked_process_can_not_use_the_connection(monkeypatch):
    transport = KeptTransport(httpx.MockTransport(lambda _: httpx.Response(200)))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="expected the connection to be used by process"):
        transport.handle_request(httpx.Request("GET", "http://airflow.example/"))


def test_a_client_for_another_server_takes_the_token_there(api, connections):
    task = api.add("d", "t", "r1")
    with Client(base_url="http://127.0.0.1:9/execution/", token="a") as stock:
        client = connections.client_like(stock, f"{api.url}/execution/")
        client.put(f"task-instances/{task.id}/heartbeat", json={})
    assert [call.token for call in api.calls] == ["a"]


def test_a_server_that_is_away_is_stood_in_for(api, connections):
    task = api.add("d", "t", "r1")
    with Client(base_url=f"{api.url}/execution/", token="a") as stock:
        client = connections.client_like(stock, "http://127.0.0.1:9/execution/")
        client.put(f"task-instances/{task.id}/heartbeat", json={"number": 1})
    (found,) = api.calls
    assert found.token == "a"
    assert found.path.endswith(f"{task.id}/heartbeat")
