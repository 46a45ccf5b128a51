"""airlane: this checkout's own stack on one machine, as `airlane up` starts it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import redis

from airflow_config import queues
from airflow_config.place import ROOT
from deploy.local.instance import Instance
from deploy.local.site import Site
from deploy.local.supervisor import Supervisor
from tests.benchmarks.api import Api, token
from tests.benchmarks.errors import BenchError
from tests.benchmarks.metadata import Metadata
from tests.benchmarks.stack import Layout, Report, Stack, clean_environment

_UP_DEADLINE = 420
_DOWN_DEADLINE = 180


class AirlaneStack(Stack):
    """airlane with the benchmark's queues and DAGs, and its own listener."""

    name = "airlane"
    permanent = ("signup_listener",)

    def __init__(self, folder: Path, dags: Path, report: Report) -> None:
        super().__init__(folder, dags, report)
        self._site = folder.with_name(f"{folder.name}.site.yaml")
        self.instance = Instance(folder, Site(dags=dags))

    def _airlane(self, *words: str, deadline: float) -> None:
        environment = clean_environment() | {
            "AIRLANE_HOME": str(self.folder),
            "AIRLANE_SITE": str(self._site),
        }
        if self.layout is not None:
            environment["AIRLANE_QUEUES"] = str(self.layout.queues)
        done = subprocess.run(
            [sys.executable, "-m", "airlane", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=deadline,
            check=False,
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
        if done.returncode:
            raise BenchError(f"airlane {' '.join(words)} failed:\n{done.stdout}{done.stderr}")

    def _start(self, layout: Layout) -> None:  # noqa: ARG002 - `_airlane` names its model
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        for file in (ROOT / "dags").glob("*.py"):
            shutil.copy(file, self.dags)
        self._site.write_text(f"dags: {self.dags}\n")
        self._airlane("up", deadline=_UP_DEADLINE)
        # the keys are made by the first start
        self.instance = Instance(self.folder, Site(dags=self.dags))

    def _stop(self) -> None:
        self._airlane("down", deadline=_DOWN_DEADLINE)

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues of the model."""
        assert self.layout is not None
        return tuple(queues.load(self.layout.queues).queues)

    def _connect(self) -> tuple[Api, Metadata, redis.Redis]:
        url = self.instance.api_url
        login = {"username": "admin", "password": self.instance.keys["airflow_admin"]}
        database = self.instance.place().airflow_db_url
        return (
            Api(url, token(url, login)),
            Metadata(database.replace("+psycopg", "", 1)),
            redis.Redis.from_url(self.instance.broker_url("operator")),
        )

    def restart_dag_processor(self) -> None:
        """Stop it and start it through its supervisor."""
        supervisor = Supervisor(self.instance)
        supervisor.stop_part("dag-processor")
        supervisor.start_part("dag-processor")
