"""Flower as an inspector sees it: readable, behind one login, read-only, and nowhere a token."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from deploy import flower_settings
from tests.acceptance import browser
from tests.acceptance.stack import Stack
from tests.servers import wait_until

#: Tasks of the run that is looked at.
BATCH = 40
#: A signed token, as Airflow's API server gives them to tasks.
_TOKEN = re.compile(r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{20,}")


@contextmanager
def flower(stack: Stack) -> Iterator[httpx.Client]:
    """Enter Flower with the login that `airlane up` printed."""
    url = stack.instance.flower_url
    with httpx.Client(
        base_url=url, auth=stack.door("Flower"), trust_env=False, timeout=30
    ) as client:
        yield client


def held_tokens(stack: Stack) -> set[str]:
    """Return the tokens in the messages that workers hold or that wait for one."""
    with redis.Redis.from_url(stack.instance.broker_url(), decode_responses=True) as broker:
        # a key for each worker class: workers/celery_config.py
        held: list[Any] = [broker.hvals(key) for key in broker.keys("unacked:*")]
        messages = [json.loads(entry)[0] for entries in held for entry in entries]
        for queue in ("batch", "onboarding"):
            waiting: Any = broker.lrange(queue, 0, -1)
            messages += [json.loads(entry) for entry in waiting]
    bodies = (base64.b64decode(message["body"]).decode() for message in messages)
    return {token for body in bodies for token in _TOKEN.findall(body)}


def tasks(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """Return the tasks that Flower knows."""
    return dict(client.get("/api/tasks", params={"limit": 1000}).raise_for_status().json())


def pages(client: httpx.Client) -> dict[str, str]:
    """Return every page that Flower shows, and what its API answers, by path."""
    columns = "&".join(f"columns[{i}][data]=name" for i in range(8))
    table = (
        f"/tasks/datatable?draw=1&start=0&length=500&order[0][column]=0&order[0][dir]=asc&{columns}"
    )
    paths = [
        *("/", "/workers", "/workers?json=1", "/tasks", f"{table}&search[value]=", "/broker"),
        *("/api/workers?refresh=1", "/api/tasks?limit=1000", "/api/task/types"),
        *("/api/queues/length", "/metrics", "/healthcheck"),
    ]
    paths += [f"/worker/{name}" for name in client.get("/api/workers").json()]
    for number in list(tasks(client))[:BATCH]:
        paths += [f"/task/{number}", f"/api/task/info/{number}", f"/api/task/result/{number}"]
    return {path: client.get(path).raise_for_status().text for path in paths}


@pytest.fixture
def busy(decider: Stack) -> Iterator[tuple[Stack, str, set[str]]]:
    """The stack with a batch run that Flower knows, its id, and tokens of its tasks."""
    run = decider.trigger("rescore_portfolio", count=BATCH)
    tokens: set[str] = set()

    def enough() -> bool:
        tokens.update(held_tokens(decider))
        return len(tokens) > 2

    wait_until(enough, "tokens in messages", 120)
    with flower(decider) as client:
        said = f"(rescore_portfolio.rescore run={run} map_index="
        wait_until(lambda: said in json.dumps(tasks(client)), "Flower to know the run", 120)
    yield decider, run, tokens
    decider.await_run("rescore_portfolio", run, 300)


def test_no_page_and_no_log_shows_a_token(busy: tuple[Stack, str, set[str]]) -> None:
    stack, run, tokens = busy
    (event,) = stack.sign_up(17)
    stack.decided([event])
    with flower(stack) as client:
        found = pages(client)
        assert f"run=signup-{event}" in found["/api/tasks?limit=1000"]
    stack.await_run("rescore_portfolio", run, 300)
    logs = {
        str(path.relative_to(stack.folder)): path.read_text(errors="replace")
        for path in (stack.folder / "logs").rglob("*.log")
    }
    assert any(run in name for name in logs), "the tasks' own logs are among them"
    assert any(name.startswith("logs/worker-") for name in logs), "and the workers'"
    for name, text in (found | logs).items():
        assert not _TOKEN.search(text), name
        assert not any(token in text for token in tokens), name


def test_an_inspector_reads_what_runs_where(busy: tuple[Stack, str, set[str]]) -> None:
    stack, run, _ = busy
    with flower(stack) as client:
        named = [task for task in tasks(client).values() if f"run={run} " in str(task["args"])]
        told = re.compile(
            rf"\(rescore_portfolio\.rescore run={re.escape(run)} map_index=\d+ try=1\)"
        )
        assert any(told.fullmatch(task["args"]) for task in named), named
        assert {task["routing_key"] for task in named if task["started"]} == {"batch"}
        lengths = client.get("/api/queues/length").json()["active_queues"]
        assert {"batch", "onboarding"} <= {queue["name"] for queue in lengths}


def test_nobody_enters_without_the_login_or_changes_anything(decider: Stack) -> None:
    url = decider.instance.flower_url
    with httpx.Client(base_url=url, trust_env=False) as stranger:
        for path in ("/", "/tasks", "/broker", "/api/workers", "/api/tasks"):
            assert stranger.get(path).status_code == httpx.codes.UNAUTHORIZED, path
        wrong = stranger.get("/tasks", auth=(flower_settings.USER, "wrong"))
        assert wrong.status_code == httpx.codes.UNAUTHORIZED
    with flower(decider) as client:
        worker = next(iter(client.get("/api/workers").json()))
        for path in (
            f"/api/worker/shutdown/{worker}",
            f"/api/worker/pool/grow/{worker}?n=1",
            f"/api/worker/queue/cancel-consumer/{worker}?queue=onboarding",
            "/api/task/revoke/any?terminate=true",
            "/api/task/send-task/execute_workload",
        ):
            assert client.post(path).status_code == httpx.codes.FORBIDDEN, path
    assert worker in {found["name"] for found in decider.json("workers")}


def test_the_pages_in_a_browser(busy: tuple[Stack, str, set[str]], tmp_path: Path) -> None:
    stack, run, _ = busy
    url = stack.instance.flower_url
    with browser.page(stack.door("Flower")) as shown:
        shown.goto(f"{url}/tasks")
        told = shown.get_by_role("row").filter(has_text=f"(rescore_portfolio.rescore run={run} ")
        # the queue is known from the task's start
        told.filter(has=shown.get_by_role("cell", name="batch", exact=True)).first.wait_for()
        taken = [browser.picture(shown, "flower-tasks.png", tmp_path)]

        shown.goto(f"{url}/broker")
        for queue in ("batch", "onboarding"):
            shown.get_by_role("cell", name=queue, exact=True).first.wait_for()
        taken.append(browser.picture(shown, "flower-broker.png", tmp_path))

        shown.goto(f"{url}/workers")
        for name in (worker["name"] for worker in stack.json("workers")):
            shown.get_by_role("link", name=name).wait_for()
        # read-only: nothing to press that would change a worker
        shown.get_by_role("link", name="onboarding@").first.click()
        shown.get_by_text("Pool", exact=True).first.wait_for()
        assert shown.get_by_text("Shut Down").count() == 0
    assert all(path.stat().st_size > 10_000 for path in taken)
