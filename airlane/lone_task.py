"""A run of one task that an operator's command starts and waits for: a canary, a replay."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import typer

from airlane.airflow_client import AirflowClient
from airlane.output import errors
from deploy.local.stack import StackError

#: Seconds between looks at the run.
_POLL = 0.5
#: Lines of the task's log that are shown when it failed.
_LOG_LINES = 12


class NoAnswerError(RuntimeError):
    """The task gave no answer; the message says where it stands, or ends its log."""


@dataclass(frozen=True)
class LoneTask:
    """The only task of a run.

    Parameters
    ----------
    airflow
        A client that has logged in.
    dag_id, task_id, run_id
        Which; the run is made by `run`.
    """

    airflow: AirflowClient
    dag_id: str
    task_id: str
    run_id: str

    def run(self, conf: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Start it, wait for its end and return what it returned.

        Parameters
        ----------
        conf
            Of the run.
        timeout
            Seconds to wait; after that the run is failed, or a worker that comes back in an hour
            would run it.

        Raises
        ------
        NoAnswerError
            When it failed or was not done in time.
        """
        end = time.monotonic() + timeout
        self._start(conf, end)
        try:
            state = self._await_end(end)
        except BaseException:
            # nobody waits for it any more; that the server is away is said already
            with suppress(StackError):
                self._give_up()
            raise
        if state == "success":
            value = self._task("xcomEntries", "return_value")["value"]
            found: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
            return found
        if state == "failed":
            raise NoAnswerError("\n".join(self._log_end()))
        raise NoAnswerError(self._unanswered(timeout))

    @property
    def _runs(self) -> str:
        return f"/api/v2/dags/{self.dag_id}/dagRuns"

    def _start(self, conf: dict[str, Any], end: float) -> None:
        body = {"dag_run_id": self.run_id, "logical_date": None, "conf": conf}
        while True:
            try:
                self.airflow.call("POST", self._runs, json=body)
            except StackError as error:
                # a fleet that was made a moment ago has not read its DAG files yet
                if "answered 404" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(_POLL)
            else:
                return

    def _await_end(self, end: float) -> str:
        while True:
            state = self.airflow.run_state(self.dag_id, self.run_id)
            if state in {"success", "failed"} or time.monotonic() > end:
                return state
            time.sleep(_POLL)

    def _task(self, *rest: str) -> Any:
        path = "/".join((self._runs, self.run_id, "taskInstances", self.task_id, *rest))
        return self.airflow.call("GET", path)

    def _log_end(self) -> list[str]:
        number = self._task()["try_number"]
        content = self._task("logs", str(max(number, 1)))["content"]
        lines = [text for line in content for text in log_texts(line)]
        return [f"a task that failed ({self.run_id}); the end of its log:", *lines[-_LOG_LINES:]]

    def _give_up(self) -> None:
        self.airflow.call("PATCH", f"{self._runs}/{self.run_id}", json={"state": "failed"})

    def _unanswered(self, timeout: float) -> str:
        state = self._task()["state"]
        self._give_up()
        hint = {
            "queued": "no worker took it. Is its unit active, and is it the name that `airlane "
            "workers` shows?",
            "running": "the worker took it and has not ended it",
        }.get(state or "", "the scheduler has not sent it. Is the pool control full?")
        return f"none within {timeout:g} s; its task is {state or 'not there yet'}: {hint}"


@contextmanager
def or_no_answer(expected: str) -> Iterator[None]:
    """End the command with 1 when no answer comes, with a message: `expected`, what was found.

    Raises
    ------
    typer.Exit
        In the place of a `NoAnswerError`.
    """
    try:
        yield
    except NoAnswerError as error:
        errors.print(f"airlane: {expected}, found: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None


def log_texts(line: Any) -> list[str]:
    """Return what a line of a task's log says: its event, then the exceptions that it carries.

    Of a task that failed the event is only that it did; why stands in the exception, which is
    followed by what caused it.
    """
    if not isinstance(line, dict):
        return [str(line)]
    raised = line.get("error_detail") or []
    return [
        str(line.get("event", "")),
        *(f"{error.get('exc_type')}: {error.get('exc_value')}" for error in raised),
    ]
