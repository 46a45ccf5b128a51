"""A look at a run with mapped tasks reads once what they are mapped over, and finds the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from airflow.sdk import DAG, BaseOperator, task_group
from airflow.serialization.serialized_objects import DagSerialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.run_looks import RULES, STATES, examined, wrapped
from tests.metadata_database import insert_dag, insert_run, insert_task, statements_heard

#: Instances of each mapped task.
COUNT = 4
_LENGTH = """
INSERT INTO task_map (dag_id, task_id, run_id, map_index, length, keys)
VALUES ('d', 'source', 'r', -1, %s, NULL)
"""


class Echo(BaseOperator):
    """Takes something."""

    def __init__(self, value: Any = None, **others: Any) -> None:
        super().__init__(**others)
        self.value = value


def dag_of(rule: str = "all_success") -> Any:
    """Return a DAG with tasks mapped over another's result, over a list, and within a group."""
    with DAG("d", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        source = Echo(task_id="source")

        @task_group
        def group(value: Any) -> None:
            Echo(task_id="inner", value=value, trigger_rule=rule)

        Echo.partial(task_id="over", trigger_rule=rule).expand(value=source.output)
        Echo.partial(task_id="listed").expand(value=list(range(COUNT)))
        group.expand(value=source.output)
    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


@pytest.fixture
def writer(writer: psycopg.Connection, metadata_orm: str) -> psycopg.Connection:
    insert_dag(writer, "d")
    insert_run(writer, "r", "running", "d")
    return writer


def fill(writer: psycopg.Connection, source: str | None, states: dict[str, list[Any]]) -> None:
    """Put these instances in the place of all others; a single one has not been expanded."""
    writer.execute("DELETE FROM task_instance")
    insert_task(writer, "source", "r", source, "d", 1)
    writer.execute(_LENGTH, [COUNT])
    for task_id, of_task in states.items():
        for number, state in enumerate(of_task):
            insert_task(writer, task_id, "r", state, "d", 1)
            if len(of_task) > 1:
                writer.execute(
                    "UPDATE task_instance SET map_index = %s WHERE task_id = %s AND map_index = -1",
                    [number, task_id],
                )
    writer.execute("UPDATE task_instance SET end_date = now(), try_number = 1")


OF_TASK = st.lists(st.sampled_from(STATES), min_size=COUNT, max_size=COUNT) | st.just([None])


@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    rule=st.sampled_from(RULES),
    source=st.sampled_from(STATES),
    over=OF_TASK,
    listed=OF_TASK,
    inner=OF_TASK,
)
def test_the_same_is_found_and_written(
    writer: psycopg.Connection, rule: str, source: str | None, **of_tasks: list[Any]
) -> None:
    states = {"over": of_tasks["over"], "listed": of_tasks["listed"]}
    fill(writer, source, {**states, "group.inner": of_tasks["inner"]})
    dag = dag_of(rule)
    stock = examined(dag)
    with wrapped():
        assert examined(dag) == stock


def test_what_tasks_are_mapped_over_is_read_once(writer: psycopg.Connection) -> None:
    none = [None] * COUNT
    fill(writer, "success", {"over": none, "listed": none, "group.inner": none})
    dag = dag_of()

    def reads() -> int:
        with statements_heard() as heard:
            ready, *_ = examined(dag)
        assert sorted(ready) == sorted(
            [*["over"] * COUNT, *["listed"] * COUNT, *["group.inner"] * COUNT]
        )
        return sum("task_instance.task_id IN" in statement for statement in heard)

    assert reads() == 3 * COUNT
    with wrapped():
        assert reads() == 2


def test_the_run_is_not_read_again_for_what_was_just_mapped(writer: psycopg.Connection) -> None:
    fill(writer, "success", {"over": [None], "listed": [None], "group.inner": [None]})
    dag = dag_of()

    def reads() -> int:
        with statements_heard() as heard:
            ready, *_ = examined(dag)
        assert len(ready) == 3 * COUNT
        return sum("FROM dag_run" in statement for statement in heard)

    stock = reads()
    with wrapped():
        assert reads() < stock - COUNT
