"""Looks at a run as the scheduler takes them, stock and with what airlane wraps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select, text

from airflow_config import run_examination

RULES = ["all_success", "all_done", "one_failed", "none_failed_min_one_success", "one_success"]
STATES = [None, None, None, "success", "success", "failed", "skipped", "running", "up_for_retry"]


@contextmanager
def wrapped() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for owner, name, wrap in run_examination.WRAPS:
            patched.setattr(owner, name, wrap(getattr(owner, name)))
        yield


def examined(dag: Any) -> tuple[Any, ...]:
    """Look at the run; return what that decides and writes. The database is as before."""
    with create_session() as session:
        try:
            run = session.scalars(select(DagRun)).one()
            run.dag = dag
            ready, callback = run.update_state(session=session, execute_callbacks=False)
            scheduled = run.schedule_tis(ready, session=session)
            session.flush()
            rows = session.execute(
                text("SELECT task_id, state, try_number FROM task_instance ORDER BY id")
            ).all()
            return [ti.task_id for ti in ready], callback, scheduled, run.state, rows
        finally:
            session.rollback()
