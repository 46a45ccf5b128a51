"""What Celery says of a message's arguments: the task, never the token."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads import DESCRIPTION, TOKEN, workload
from workers.arguments import UNKNOWN, connect, describe, describe_before_publish, told

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)


def test_a_task_is_described_by_what_people_look_for() -> None:
    text = workload().model_dump_json()
    assert TOKEN in text, "Airflow's model has changed: is the token still sent?"
    assert describe(text) == DESCRIPTION


def test_a_mapped_task_shows_its_index() -> None:
    text = workload(map_index=7, try_number=2).model_dump_json()
    assert describe(text) == "(onboarding.score run=signup-1 map_index=7 try=2)"


@given(dag_id=names, task_id=names, run_id=names, map_index=st.integers(-1, 4096))
def test_no_task_shows_its_token(dag_id: str, task_id: str, run_id: str, map_index: int) -> None:
    task = workload(dag_id=dag_id, task_id=task_id, run_id=run_id, map_index=map_index)
    said = describe(task.model_dump_json())
    assert TOKEN not in said
    assert f"({dag_id}.{task_id} run={run_id}" in said


@given(json_values, st.sampled_from(["token", "type", "ti", "input"]))
def test_no_other_json_shows_a_token(value: object, key: str) -> None:
    for content in (
        {"token": TOKEN, key: value},
        {key: TOKEN, "other": value},
        {"ti": {"dag_id": {"token": TOKEN}, "task_id": value, "run_id": [TOKEN], "try_number": 1}},
        {"ti": value, "type": TOKEN},
        [TOKEN, value],
    ):
        assert TOKEN not in describe(json.dumps(content))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (json.dumps({"type": "ExecuteCallback", "token": TOKEN}), "(ExecuteCallback)"),
        (TOKEN, UNKNOWN),
        (None, UNKNOWN),
        ({"token": TOKEN}, UNKNOWN),
        ("[" * 100_000, UNKNOWN),
    ],
)
def test_what_is_no_task_is_described_by_its_type_at_most(found: object, said: str) -> None:
    assert describe(found) == said


@given(json_values)
def test_every_message_is_described_whatever_its_body(body: object) -> None:
    headers = {"argsrepr": TOKEN, "kwargsrepr": TOKEN}
    describe_before_publish(body=body, headers=headers, sender="renamed_by_airflow")
    assert TOKEN not in str(headers)


def test_a_message_of_celery_is_described() -> None:
    headers = {"argsrepr": TOKEN, "kwargsrepr": TOKEN}
    body = ((workload().model_dump_json(),), {}, {"callbacks": None})
    describe_before_publish(body=body, headers=headers)
    assert headers == {"argsrepr": DESCRIPTION, "kwargsrepr": "{}"}


def test_connecting_twice_describes_once() -> None:
    from celery.signals import before_task_publish

    connect()
    before = len(before_task_publish.receivers)
    connect()
    assert len(before_task_publish.receivers) == before


@given(names, names, names, st.integers(-1, 9), st.integers(1, 9))
def test_what_was_described_is_told(dag: str, task: str, run: str, index: int, number: int) -> None:
    changes = {"dag_id": dag, "task_id": task, "run_id": f"manual__{run}+00:00"}
    sent = workload(**changes, map_index=index, try_number=number).model_dump_json()
    assert told(describe(sent)) == describe(sent) != UNKNOWN


@pytest.mark.parametrize(
    "text", [f'(\'{{"token": "{TOKEN}"}}\',)', TOKEN, f"({TOKEN})", "", None, "(a run=b"]
)
def test_what_may_hold_a_token_is_not_told(text: object) -> None:
    assert told(text) == UNKNOWN
