"""A whole stack in a temporary instance, driven by the real command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
import redis
from psycopg.rows import dict_row

from airflow_config.place import ROOT
from deploy.local import leftovers
from deploy.local.instance import Instance
from deploy.local.site import Site
from deploy.local.stack import last_lines
from intake import keys, producer
from tests.servers import wait_until

#: Seconds. They end a test that would never end; how long things take is measured elsewhere.
UP_DEADLINE = 420
DOWN_DEADLINE = 180
DECIDE_DEADLINE = 300
COMMAND_DEADLINE = 120

#: Variables of the caller that would make the stack another one.
_FOREIGN = re.compile(r"AIRFLOW|AIRLANE|CELERY|PYTHONPATH|PG")


class Stack:
    """The stack under test.

    Parameters
    ----------
    folder
        Its `AIRLANE_HOME`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_up = False
        self.has_model = False
        #: What `airlane up` printed.
        self.said = ""
        site = folder.with_name(f"{folder.name}.site.yaml")
        #: The checkout's DAG files, and those that tests add.
        self.dags = folder.with_name(f"{folder.name}.dags")
        ignored = shutil.ignore_patterns("packs", "__pycache__")
        shutil.copytree(ROOT / "dags", self.dags, ignore=ignored)
        self.instance = Instance(folder, Site(dags=self.dags))
        # of our own: the checkout's may name ports that are taken
        site.write_text(f"logs: {{max_mb: 10, keep: 3}}\ndags: {self.dags}\n")
        self.environment = {k: v for k, v in os.environ.items() if not _FOREIGN.match(k)}
        self.environment |= {"AIRLANE_HOME": str(folder), "AIRLANE_SITE": str(site)}

    def run(
        self,
        *words: str,
        code: int | None = 0,
        deadline: float = COMMAND_DEADLINE,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `airlane WORDS` and compare its exit code (None: any will do)."""
        done = subprocess.run(
            [sys.executable, "-m", "airlane", *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=deadline,
            check=False,
            input=stdin or "",
        )
        if code is not None and done.returncode != code:
            pytest.fail(
                f"airlane {' '.join(words)}: expected exit code {code}, found {done.returncode}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        """Run `airlane WORDS --json` and return what it printed: one value on one line."""
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def json_lines(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        """Run `airlane WORDS --json` and return what it printed: a value on each line."""
        return [json.loads(x) for x in self.run(*words, "--json", code=code).stdout.splitlines()]

    def up(self) -> str:
        """Start the stack when it is down."""
        self.said = self.run("up", deadline=UP_DEADLINE).stdout
        self.is_up = True
        return self.said

    def down(self) -> str:
        """Stop the stack."""
        self.is_up = False
        return self.run("down", deadline=DOWN_DEADLINE).stdout

    def end(self) -> None:
        """Stop the stack whatever state it is in, and fail when anything is left of it."""
        running = self.processes()
        try:
            done = self.run("down", code=None, deadline=DOWN_DEADLINE)
        finally:
            left = leftovers.find(self.folder)
            leftovers.end(left, grace=5)
        assert not done.returncode, done.stdout + done.stderr
        assert not left, f"left by airlane down: {left}"
        self.await_end(running)

    def processes(self) -> list[psutil.Process]:
        """Return every process of the stack: by the marker, and what those have started."""
        found = {process.pid: process for process in leftovers.find(self.folder)}
        for process in list(found.values()):
            try:
                found |= {child.pid: child for child in process.children(recursive=True)}
            except psutil.NoSuchProcess:
                continue
        return list(found.values())

    def await_end(self, running: Iterable[psutil.Process]) -> None:
        """Expect processes to be gone, and nothing to carry the instance's marker."""
        # PostgreSQL's own children end by themselves a moment after it
        _, alive = psutil.wait_procs(list(running), timeout=10)
        assert not alive, f"still running: {alive}"
        assert leftovers.find(self.folder) == []

    def part(self, name: str) -> dict[str, Any]:
        """Return a part as `airlane status` shows it, in whatever state the stack is."""
        found = json.loads(self.run("status", "--json", code=None).stdout)
        return next(part for part in found["parts"] if part["name"] == name)

    def tree(self, name: str) -> list[psutil.Process]:
        """Return a part's processes, the supervised one first."""
        main = psutil.Process(self.part(name)["pid"])
        return [main, *main.children(recursive=True)]

    def await_health(self, deadline: float = 180) -> dict[str, Any]:
        """Await that every part runs and answers; return what `airlane status` says then.

        On a very busy machine a part may miss a probe's deadline.
        """
        found: dict[str, Any] = {}

        def is_healthy() -> bool:
            done = self.run("status", "--json", code=None)
            found.update(json.loads(done.stdout))
            assert found["healthy"] == (done.returncode == 0)
            return bool(found["healthy"])

        wait_until(is_healthy, "the stack to be healthy", deadline)
        return found

    def log_ends(self, lines: int = 12, width: int = 240) -> Iterator[tuple[str, str]]:
        """Yield name and end of every part's log, short enough to leave the failure in sight."""
        for path in sorted((self.folder / "logs").glob("*.log")):
            ends = last_lines(path, lines).splitlines()
            yield path.name, "\n".join(line[:width] for line in ends)

    def metadata(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return rows of Airflow's database."""
        return self._rows("airflow", "airflow", query, values)

    def app(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return rows of the database `app`."""
        return self._rows("app", "airlane_owner", query, values)

    def _rows(self, database: str, login: str, query: str, values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(
            host="127.0.0.1",
            port=self.instance.port("postgres"),
            dbname=database,
            user=login,
            password=self.instance.keys[login],
            row_factory=dict_row,
        ) as connection:
            return connection.execute(query.encode(), values).fetchall()

    @contextmanager
    def events(self, login: str = "operator") -> Iterator[redis.Redis]:
        """Enter the events server."""
        url = self.instance.events_url(login)
        with redis.Redis.from_url(url, decode_responses=True) as client:
            yield client

    def sign_up(self, *entities: int | str) -> list[str]:
        """Send sign-ups as a producer does, with a producer's login; return the event ids."""
        with self.events("producer") as client:
            return [producer.signup(client, entity) for entity in entities]

    def decided(
        self, event_ids: Iterable[str], deadline: float = DECIDE_DEADLINE
    ) -> dict[str, dict[str, Any]]:
        """Await the decisions about events in the stream, as a producer does."""
        wanted = list(event_ids)
        with self.events("producer") as client:
            found = producer.wait(client, wanted, deadline)
        missing = sorted(set(wanted) - set(found))
        assert not missing, (
            f"{len(missing)} of {len(wanted)} not decided in {deadline} s: {missing}"
        )
        return found

    def group(self) -> dict[str, Any]:
        """Return what the events server says of the intake's consumer group."""
        with self.events() as client:
            groups: Any = client.xinfo_groups(keys.SIGNUPS)
        return next(group for group in groups if group["name"] == keys.GROUP)

    def await_intake(self, deadline: float = DECIDE_DEADLINE) -> None:
        """Await that every event sent so far is acknowledged: it has a run or a dead letter."""

        def is_empty() -> bool:
            group = self.group()
            return not group["lag"] and not group["pending"]

        wait_until(is_empty, "all events to be taken in", deadline)

    def counts(self, event_ids: Iterable[str]) -> dict[str, tuple[int, int, int]]:
        """Return for each event how many runs, ledger rows and stream entries it has."""
        wanted = list(event_ids)
        runs = self.metadata(
            "SELECT conf->'event'->>'event_id' AS id FROM dag_run "
            "WHERE dag_id = 'onboarding' AND conf->'event'->>'event_id' = ANY(%s)",
            wanted,
        )
        rows = self.app("SELECT event_id AS id FROM ledger WHERE event_id = ANY(%s)", wanted)
        with self.events() as client:
            entries: Any = client.xrange(keys.DECISIONS)
        run, row = Counter(r["id"] for r in runs), Counter(r["id"] for r in rows)
        entry = Counter(fields["event_id"] for _, fields in entries)
        return {event: (run[event], row[event], entry[event]) for event in wanted}

    def expect_once(self, event_ids: Iterable[str]) -> None:
        """Expect exactly one DagRun, one ledger row and one stream entry for each event."""
        counts = self.counts(event_ids)
        assert counts == dict.fromkeys(counts, (1, 1, 1)), "runs, ledger rows, stream entries"

    @contextmanager
    def airflow(self) -> Iterator[httpx.Client]:
        """Enter Airflow's REST API with the password that `airlane up` printed."""
        with httpx.Client(base_url=self.instance.api_url, timeout=60, trust_env=False) as client:
            login, password = self.door()
            answer = client.post("/auth/token", json={"username": login, "password": password})
            assert answer.status_code == httpx.codes.CREATED, answer.text
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            yield client

    def door(self, name: str = "Airflow") -> tuple[str, str]:
        """Return login and password that `airlane up` printed for a person."""
        found = re.search(rf"^{name} +http\S+ +login (\S+) +password (\S+)$", self.said, re.M)
        assert found, f"no login for {name} in:\n{self.said}"
        return found[1], found[2]

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Start a run and return its id."""
        with self.airflow() as client:
            body = {"logical_date": None, "conf": conf}
            answer = client.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)
            assert answer.status_code == httpx.codes.OK, answer.text
            return str(answer.json()["dag_run_id"])

    def await_run(self, dag_id: str, run_id: str, deadline: float) -> None:
        """Await a run's success; end at once when it fails."""

        def ended() -> bool:
            query = "SELECT state FROM dag_run WHERE dag_id = %s AND run_id = %s"
            state = self.metadata(query, dag_id, run_id)[0]["state"]
            assert state != "failed", f"run {run_id} of {dag_id} failed: {self.states(run_id)}"
            return bool(state == "success")

        wait_until(ended, f"run {run_id} of {dag_id} to succeed", deadline)

    def states(self, *run_ids: str) -> Counter[str]:
        """Return how many tasks of runs are in which state."""
        query = "SELECT coalesce(state, 'none') AS state FROM task_instance WHERE run_id = ANY(%s)"
        return Counter(row["state"] for row in self.metadata(query, list(run_ids)))

    def tasks(self, *run_ids: str) -> list[dict[str, Any]]:
        """Return the tasks of runs, as Airflow's database has them."""
        return self.metadata("SELECT * FROM task_instance WHERE run_id = ANY(%s)", list(run_ids))

    def need_up(self) -> None:
        """Start the stack when no test before has."""
        if not self.is_up:
            self.up()

    def need_model(self) -> None:
        """See to it that the stack is up, all DAGs are parsed, and there is a model."""
        self.need_up()
        if self.has_model:
            return
        wanted = {"signup_listener", "onboarding", "train_risk_model", "rescore_portfolio"}
        parsed = "SELECT dag_id FROM dag WHERE NOT is_stale"
        wait_until(
            lambda: wanted <= {row["dag_id"] for row in self.metadata(parsed)},
            "the DAG files to be read",
            180,
        )
        self.await_run("train_risk_model", self.trigger("train_risk_model"), 240)
        self.has_model = True


def stays(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Expect a condition to hold all the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), f"{what}: no longer"
        time.sleep(0.1)


def is_recent_utc(text: str) -> bool:
    """Say whether a text is an ISO 8601 time in UTC of this hour."""
    moment = datetime.fromisoformat(text)
    offset = moment.utcoffset()
    age = (datetime.now(UTC) - moment).total_seconds()
    return offset is not None and not offset and 0 <= age < 3600
