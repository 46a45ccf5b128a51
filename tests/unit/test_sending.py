"""What goes to the broker in one pipeline, and what is sent again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from airflow.providers.celery.executors import celery_executor_utils

from airflow_config import sending

TASK = SimpleNamespace(ti=SimpleNamespace(external_executor_id="id"))
CALLBACK = SimpleNamespace(callback=SimpleNamespace(key="key"))


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Have each pipeline break when it was sent, and keep what is sent, by and by."""
    found: list[Any] = []

    def breaks(_app: Any, workloads: Any) -> None:
        found.append([key for key, *_ in workloads])
        raise ConnectionError("delivery is uncertain")

    monkeypatch.setattr(sending, "_in_one_pipeline", breaks)
    monkeypatch.setattr(
        celery_executor_utils, "send_workload_to_executor", lambda item: found.append(item[0])
    )
    return found


def test_tasks_go_together_and_alone_when_that_fails(tries: list[Any]) -> None:
    sending.send(MagicMock(), [("a", TASK, "q", None), ("b", TASK, "q", None)])
    assert tries == [["a", "b"], "a", "b"]


def test_a_callback_is_sent_once(tries: list[Any]) -> None:
    sending.send(MagicMock(), [("a", TASK, "q", None), ("c", CALLBACK, "q", None)])
    assert tries == ["a", "c"]
