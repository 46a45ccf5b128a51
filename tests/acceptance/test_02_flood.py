"""Thirty sign-ups while a flood of batch work waits: each decided once, and before the flood."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import httpx
import pytest

from dags.packs.holdout import held_out
from tests.acceptance.stack import Stack
from tests.servers import wait_until

FLOOD = 240
SIGN_UPS = 30
#: Batch tasks that are scheduled before the first sign-up and wait until the last is decided.
OVERTAKEN = 100
#: Over which `airlane queues` takes the means of its rates.
RATE_MINUTES = 5
WINDOW = timedelta(minutes=RATE_MINUTES)


@dataclass(frozen=True)
class Scene:
    flood: str
    began: datetime
    event_ids: list[str]
    decisions: dict[str, dict[str, Any]]
    urgent: list[dict[str, Any]]
    batch: list[dict[str, Any]]
    #: What `airlane queues` showed while the flood waited, and when all had ended, by queue.
    waiting: dict[str, dict[str, Any]]
    ended: dict[str, dict[str, Any]]
    #: When the second of these looks was over: what it saw was before.
    looked: datetime


@pytest.fixture(scope="module")
def scene(session_stack: Stack) -> Scene:
    """The flood and the sign-ups, when all of them have ended."""
    stack = session_stack
    stack.need_model()
    flood = stack.trigger("rescore_portfolio", count=FLOOD)

    def waits() -> bool:
        states = stack.states(flood)
        return states["scheduled"] + states["queued"] >= FLOOD * 0.9

    wait_until(waits, "the flood to wait", 120)
    began = stack.metadata("SELECT now() AS now")[0]["now"]
    waiting = _queues(stack)
    people = [entity for entity in range(1, 1001) if held_out(entity)][:SIGN_UPS]
    event_ids = stack.sign_up(*people)
    decisions = stack.decided(event_ids)
    runs = [f"signup-{event}" for event in event_ids]
    for run in runs:
        stack.await_run("onboarding", run, 60)
    stack.await_run("rescore_portfolio", flood, 480)
    ended = _queues(stack)
    looked = stack.metadata("SELECT now() AS now")[0]["now"]
    urgent, batch = stack.tasks(*runs), stack.tasks(flood)
    return Scene(flood, began, event_ids, decisions, urgent, batch, waiting, ended, looked)


def _queues(stack: Stack) -> dict[str, dict[str, Any]]:
    return {queue["name"]: queue for queue in stack.json("queues")}


pytestmark = pytest.mark.timeout(1200)


def test_each_is_decided_once(stack: Stack, scene: Scene) -> None:
    stack.expect_once(scene.event_ids)
    for event, decision in scene.decisions.items():
        assert set(decision) == {
            *("event_id", "entity_id", "decision", "score", "reasons", "model_version", "seconds")
        }
        assert decision["event_id"] == event
        assert decision["decision"] in {"approve", "decline", "review"}
        assert 0 < decision["score"] < 1
        assert decision["reasons"]
        assert decision["model_version"]
        assert decision["seconds"] > 0
    verdicts = {decision["decision"] for decision in scene.decisions.values()}
    assert len(verdicts) > 1, "all the same: is anything looked at?"
    assert len({decision["score"] for decision in scene.decisions.values()}) > SIGN_UPS / 2


def test_every_task_ends_as_it_should_at_its_first_try(stack: Stack, scene: Scene) -> None:
    assert {task["state"] for task in scene.batch} == {"success"}
    assert len(scene.batch) == FLOOD + 2
    assert len(scene.urgent) == SIGN_UPS * 9
    for task in scene.urgent:
        wanted = "skipped" if task["task_id"] == "set_entity_error" else "success"
        assert task["state"] == wanted, task["task_id"]
    again = [t["task_id"] for t in (*scene.urgent, *scene.batch) if t["try_number"] > 1]
    assert again == []


def test_urgent_tasks_start_before_batch_tasks_that_waited_longer(
    stack: Stack, scene: Scene
) -> None:
    urgent = [task for task in scene.urgent if task["state"] == "success"]
    assert {task["queue"] for task in urgent} == {task["pool"] for task in urgent} == {"onboarding"}
    waiting = [
        task
        for task in scene.batch
        if task["scheduled_dttm"]
        and task["scheduled_dttm"] < scene.began
        and task["start_date"] > scene.began
    ]
    assert {task["queue"] for task in waiting} == {task["pool"] for task in waiting} == {"batch"}
    assert min(t["priority_weight"] for t in urgent) > max(t["priority_weight"] for t in waiting)
    assert min(task["scheduled_dttm"] for task in urgent) > scene.began
    last = max(task["end_date"] for task in urgent)
    overtaken = [task for task in waiting if task["start_date"] > last]
    assert len(overtaken) >= OVERTAKEN, f"of {len(waiting)} that waited"

    def waits(tasks: list[dict[str, Any]]) -> list[float]:
        return [(task["start_date"] - task["scheduled_dttm"]).total_seconds() for task in tasks]

    assert median(waits(urgent)) < median(waits(waiting)) / 2


def test_lent_workers_take_urgent_tasks(stack: Stack, scene: Scene) -> None:
    # 16 slots: 8 of the queue's own workers and 8 lent by batch
    log = (stack.folder / "logs" / "worker-batch.log").read_text(errors="replace")
    assert any(f"signup-{event}" in log for event in scene.event_ids)
    log = (stack.folder / "logs" / "worker-onboarding.log").read_text(errors="replace")
    assert scene.flood not in log, "lent the other way round"


def test_decisions_are_listed_oldest_first(stack: Stack, scene: Scene) -> None:
    listed = stack.json_lines("decisions")
    ours = [d for d in listed if d["event_id"] in scene.decisions]
    assert {d["event_id"]: d for d in ours} == scene.decisions
    decided = stack.app("SELECT event_id FROM ledger ORDER BY decided_at, event_id")
    assert [d["event_id"] for d in listed] == [row["event_id"] for row in decided]


def test_flower_shows_tasks_and_no_token(stack: Stack, scene: Scene) -> None:
    door = stack.door("Flower")
    with httpx.Client(base_url=stack.instance.flower_url, auth=door, trust_env=False) as client:
        api = client.get("/api/tasks", params={"limit": 5000})
        pages = [api, client.get("/broker"), client.get("/workers"), client.get("/metrics")]
        table = {"draw": 1, "start": 0, "length": 1000, "search[value]": ""}
        table |= {"order[0][column]": 0, "order[0][dir]": "asc", "columns[0][data]": "name"}
        pages.append(client.get("/tasks/datatable", params=table))
        tasks = api.json()
        pages += [client.get(f"/task/{task}") for task in list(tasks)[:3]]
    for page in pages:
        assert page.status_code == httpx.codes.OK, page.url
        text = html.unescape(page.text)
        assert "eyJ" not in text, page.url
        assert not re.search(r'\\*"token\\*"', text), page.url
    said = [task["args"] or "" for task in tasks.values()]
    assert len(said) > FLOOD
    assert any("rescore_portfolio.rescore" in args for args in said), said[:3]
    assert any(f"signup-{scene.event_ids[0]}" in args for args in said)


def test_queues_tell_what_waits_while_the_flood_does(scene: Scene) -> None:
    found = scene.waiting["batch"]
    assert found["scheduled"] >= OVERTAKEN
    assert found["slots_used"] <= found["slots_total"]
    assert 0 < found["oldest_s"] < 600
    assert found["arrivals_per_minute"] * RATE_MINUTES >= FLOOD * 0.9
    assert scene.ended["batch"]["oldest_s"] is None


def test_queues_tell_what_was_done_and_kept(scene: Scene) -> None:
    """On a real stack, where workers and scheduler write the columns that are read for it."""
    found = scene.ended["onboarding"]
    ran = [task for task in scene.urgent if task["state"] == "success"]
    assert found["kept"]["end_to_end"]["count"] >= SIGN_UPS
    assert found["kept"]["task"]["count"] >= len(ran)
    # a gap is before each but a run's first task
    assert found["kept"]["gap"]["count"] >= len(ran) - SIGN_UPS
    for promise, kept in found["kept"].items():
        assert kept["count"] >= kept["kept"] >= 0, promise
        assert kept["share"] == pytest.approx(kept["kept"] / kept["count"], abs=1e-4), promise
    for name, tasks in (("onboarding", ran), ("batch", scene.batch)):
        # these were in the window at the look, which was over by then
        lately = [t for t in tasks if t["end_date"] > scene.looked - WINDOW]
        ended = scene.ended[name]["completions_per_minute"] * RATE_MINUTES
        assert ended >= len(lately) - 0.05, name
    assert [t for t in scene.batch if t["end_date"] > scene.looked - WINDOW], "the flood's end"
