"""What must hold between the entries of queues.yaml: each rule, and all of them on random files."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.models.taskinstance import TaskInstance
from hypothesis import given
from hypothesis import strategies as st

from airflow_config import queues
from airflow_config.durations import parse_duration
from airflow_config.queues import QueuesError
from airflow_config.retry_waits import longest_waits

MODEL = """\
queues:
  urgent:
    priority: 9
    promise: {end_to_end: 3m, task: 1m, gap: 3s}
    task_timeout: 1m
    retries: {max_delay: 10s}
  small: {priority: 5, task_timeout: 5m}
  rest: {priority: 1, default: true, task_timeout: 6h}
workers:
  urgent: {home: urgent, concurrency: 8}
  small: {home: small, concurrency: 2}
  rest: {home: rest, lends_to: [small, urgent], concurrency: 8}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(QueuesError) as caught:
        queues.read(text, file="q.yaml")
    return list(caught.value.problems)


def changed(*pairs: tuple[str, str]) -> list[str]:
    text = MODEL
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return problems(text)


def test_the_model_of_these_tests_is_in_order() -> None:
    queues.read(MODEL)


def test_a_promise_is_not_kept_by_shared_workers_alone() -> None:
    # a queue above it, that its only workers lend to
    (problem,) = changed(
        ("queues:\n", "queues:\n  top: {priority: 10, task_timeout: 1h}\n"),
        ("home: urgent,", "home: urgent, lends_to: [top],"),
        ("workers:\n", "workers:\n  top: {home: top, concurrency: 1}\n"),
    )
    assert problem == (
        "q.yaml:5: queues.urgent.promise: expected a worker class with home: urgent that lends to "
        "no other queue, found only urgent: while it is lent, nobody keeps the promise. Fix: take "
        "lends_to out, or add a class"
    )


def test_a_promise_needs_a_host_at_all_times() -> None:
    assert changed(("home: urgent,", "home: urgent, hosts: {min: 0, max: 3},")) == [
        "q.yaml:10: workers.urgent.hosts.min: expected at least 1, because queues.urgent has a "
        "promise, found 0: until a host is there, nobody keeps it. Fix: min: 1"
    ]
    queues.read(MODEL.replace("home: small,", "home: small, hosts: {min: 0, max: 3},"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("task_timeout: 1m", "task_timeout: 4m", "q.yaml:5: queues.urgent.task_timeout: expected "
         "at most 3m (promise.end_to_end), found 4m: one task may take longer than all of its "
         "run. Fix: a shorter task_timeout, or promise less"),
        ("max_delay: 10s", "max_delay: 3m", "q.yaml:6: queues.urgent.retries.max_delay: expected "
         "less than 3m (promise.end_to_end), found 3m: a task that waits so long for its retry is "
         "late. Fix: retries: {max_delay: ...} below 3m, or promise less"),
        ("    retries: {max_delay: 10s}\n", "", "q.yaml:2: queues.urgent.retries.max_delay: "
         "expected less than 3m (promise.end_to_end), found 5m by default: a task that waits so "
         "long for its retry is late. Fix: retries: {max_delay: ...} below 3m, or promise less"),
        ("max_delay: 10s", "count: 30, max_delay: 10s", "q.yaml:6: queues.urgent.retries: expected "
         "all waits for retries to be below 3m together (promise.end_to_end), found up to 5m: a "
         "task that needs its last retry is late. Fix: a lower count, delay or max_delay, or "
         "promise less"),
        ("concurrency: 8}\n  small", "concurrency: 8, drain: 30s}\n  small", "q.yaml:10: "
         "workers.urgent.drain: expected at least 1m (queues.urgent.task_timeout), found 30s: a "
         "drain would cut tasks off that are still in time. Fix: take it out, which means 1m, or "
         "a shorter task_timeout"),
        ("{home: small,", "{home: small, drain: 2m, lends_to: [urgent],", "q.yaml:11: "
         "workers.small.drain: expected at least 5m (queues.small.task_timeout), found 2m: a "
         "drain would cut tasks off that are still in time. Fix: take it out, which means 5m, or "
         "a shorter task_timeout"),
        ("  small: {home", f"  {'s' * 64}: {{home", f"q.yaml:11: workers.{'s' * 64}: expected a "
         f"name that matches ^[a-z][a-z0-9_]{{0,62}}$, found '{'s' * 64}': it becomes a Redis key, "
         "a pool, a unit of systemd and a group of Ansible. Fix: small letters, digits and _"),
    ],
)  # fmt: skip
def test_a_rule_that_is_broken_is_named(old: str, new: str, message: str) -> None:
    assert changed((old, new)) == [message]


def test_a_task_may_take_longer_than_most_are_promised_to() -> None:
    queues.read(MODEL.replace("task_timeout: 1m", "task_timeout: 3m"))


def test_waits_are_those_of_airflow() -> None:
    ends = datetime(2026, 1, 1, tzinfo=UTC)
    delay, most = timedelta(seconds=7), timedelta(minutes=3)
    task = SimpleNamespace(retry_delay=delay, retry_exponential_backoff=2.0, max_retry_delay=most)
    for run in range(50):
        waited = timedelta()
        for number in range(1, 9):
            tried = SimpleNamespace(
                **{"retry_delay_override": None, "task": task, "try_number": number},
                **{"dag_id": "d", "task_id": "t", "logical_date": run, "end_date": ends},
            )
            waited += TaskInstance.next_retry_datetime(tried) - ends
            longest = longest_waits(number, delay, most)
            assert longest / 2 - timedelta(seconds=number) <= waited <= longest


def test_what_is_no_duration_is_told_once() -> None:
    for old, new in (("end_to_end: 3m", "end_to_end: 3"), ("max_delay: 10s", "max_delay: [1]")):
        (problem,) = changed((old, new))
        assert "expected a duration such as" in problem


#: Names, of which some can't be all that a name becomes.
NAMES = ("onboarding", "a1", "b_2", "c" * 63, "d" * 64, "no-dash", "Upper", "1st", "unacked", "all")
SHORT = st.sampled_from(["1s", "30s", "1m", "2m", "5m", "1h"])


@st.composite
def models(draw: Any) -> dict[str, Any]:
    """Files whose entries are well-formed by themselves."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    found: dict[str, Any] = {}
    default = draw(st.sampled_from([*names, *names, None]))
    for name in names:
        queue: dict[str, Any] = {
            "priority": draw(st.integers(1, 6)),
            "task_timeout": draw(SHORT),
            "default": name == default,
        }
        if draw(st.booleans()):
            queue["promise"] = {"gap": "1s", "task": "1s", "end_to_end": draw(SHORT)}
        if draw(st.booleans()):
            count = draw(st.sampled_from([0, 3, 7, 40]))
            queue["retries"] = {"count": count, "delay": "1s", "max_delay": draw(SHORT)}
        found[name] = queue
    workers: dict[str, Any] = {}
    some = st.sampled_from([*names, "nowhere"])
    for index, home in enumerate([*names, *draw(st.lists(some, max_size=2))]):
        worker: dict[str, Any] = {"home": home, "concurrency": 1}
        if draw(st.booleans()):
            worker["lends_to"] = draw(st.lists(some, max_size=3))
        if draw(st.booleans()):
            worker["drain"] = draw(SHORT)
        if draw(st.booleans()):
            worker["hosts"] = {"min": draw(st.integers(0, 1)), "max": 3}
        workers[f"w{index}"] = worker
    for name in draw(st.lists(st.sampled_from(sorted(workers)), max_size=1)):
        del workers[name]
    return {"queues": found, "workers": workers}


def _span(text: str) -> timedelta:
    return parse_duration(text)


def broken(model: dict[str, Any]) -> set[str]:
    """Return the places that break a rule, told again from what the documentation says."""
    entries, workers = model["queues"], model["workers"]
    found = set() if any(entry["default"] for entry in entries.values()) else {"queues"}
    for name in entries:
        found |= {f"queues.{name}{key}" for key in broken_queue(model, name)}
        found |= broken_promise(model, name) if "promise" in entries[name] else set()
    for key, worker in workers.items():
        found |= {f"workers.{key}.{place}" for place in broken_class(entries, worker)}
    return found


def broken_queue(model: dict[str, Any], name: str) -> set[str]:
    entries = model["queues"]
    above = [entry["priority"] for entry in entries.values()][: list(entries).index(name)]
    found = set()
    if name == "unacked" or not re.fullmatch("[a-z][a-z_0-9]{,62}", name):
        found.add("")
    if all(worker["home"] != name for worker in model["workers"].values()):
        found.add("")
    if entries[name]["priority"] in above:
        found.add(".priority")
    return found


def broken_promise(model: dict[str, Any], name: str) -> set[str]:
    entry, place = model["queues"][name], f"queues.{name}"
    promised = _span(entry["promise"]["end_to_end"])
    found = set()
    if _span(entry["task_timeout"]) > promised:
        found.add(f"{place}.task_timeout")
    retries = {"count": 3, "delay": "10s", "max_delay": "5m"} | entry.get("retries", {})
    first, longest = _span(retries["delay"]).total_seconds(), _span(retries["max_delay"])
    waits = [2 * first * 2**done - 1 for done in range(retries["count"])]
    if longest >= promised:
        found.add(f"{place}.retries.max_delay")
    elif sum(min(wait, longest.total_seconds()) for wait in waits) >= promised.total_seconds():
        found.add(f"{place}.retries")
    at_home = {key: worker for key, worker in model["workers"].items() if worker["home"] == name}
    own = {key: worker for key, worker in at_home.items() if not worker.get("lends_to")}
    if at_home and not own:
        found.add(f"{place}.promise")
    if own and all(worker.get("hosts", {}).get("min") == 0 for worker in own.values()):
        found.add(f"workers.{next(iter(own))}.hosts.min")
    return found


def broken_class(entries: dict[str, Any], worker: dict[str, Any]) -> set[str]:
    home, lent = worker["home"], worker.get("lends_to", [])
    found = set() if home in entries else {"home"}
    for index, name in enumerate(lent):
        known = name in entries and name != home and name not in lent[:index]
        floor = entries[home]["priority"] if home in entries else 0
        if not known or entries[name]["priority"] < floor:
            found.add(f"lends_to.{index}")
    served = [entries[name] for name in (home, *lent) if name in entries]
    if any(_span(entry["task_timeout"]) > _span(worker.get("drain", "1d")) for entry in served):
        found.add("drain")
    return found


@given(models())
def test_all_that_breaks_a_rule_is_named_at_once_and_nothing_else(model: dict[str, Any]) -> None:
    text = yaml.safe_dump(model, sort_keys=False)
    wanted = broken(model)
    if not wanted:
        queues.read(text)
        return
    found = [re.fullmatch(r"q\.yaml:\d+: (\S+): (expected .*)", line) for line in problems(text)]
    assert {problem[1] for problem in found if problem} == wanted
    assert all(found)
