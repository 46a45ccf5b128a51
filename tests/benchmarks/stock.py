"""Stock Airflow: the same versions, its own default settings, one worker with one queue.

Only what a stack cannot run without is set: addresses, keys, the executor, the DAG folder, and
that DAGs are not paused when they are new. The servers are the same programs with the same
durability as airlane's.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import redis
from cryptography.fernet import Fernet

from airflow_config.place import ROOT
from airflow_config.settings import render_cfg
from deploy import probes
from deploy.local import leftovers, postgres, valkey
from deploy.local.caller import passed_on
from deploy.local.ports import free_port
from deploy.local.stack import last_lines
from deploy.logins import BROKER_ACL, LOGINS
from tests.benchmarks.api import Api, token
from tests.benchmarks.errors import BenchError
from tests.benchmarks.metadata import Metadata
from tests.benchmarks.stack import Layout, Report, Stack, await_true

#: The queue that Airflow's tasks have when nobody names one.
QUEUE = "default"
_READY_DEADLINE = 180
_STOP_GRACE = 15
_PASSWORD = "benchmark"  # of servers that listen on loopback while the benchmark runs
_WORKER = "worker-stock"


class StockStack(Stack):
    """Stock Airflow with the CeleryExecutor."""

    name = "stock"

    def __init__(self, folder: Path, dags: Path, report: Report) -> None:
        super().__init__(folder, dags, report)
        self._ports: dict[str, int] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self._started: dict[str, float] = {}

    @property
    def queues(self) -> tuple[str, ...]:
        """Stock has one."""
        return (QUEUE,)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._ports['api']}"

    @property
    def _broker_url(self) -> str:
        return valkey.url(self._ports["broker"], "airflow", _PASSWORD)

    def _start(self, layout: Layout) -> None:
        leftovers.end(leftovers.find(self.folder), grace=5)
        for name in ("logs", "airflow"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("postgres", "broker", "api", "task_logs"):
            self._ports[name] = free_port(besides=self._ports.values())
        self._start_servers()
        self._write_settings(layout)
        # a process of its own, as any other part; it ends
        self._spawn("migration", [*_AIRFLOW, "db", "migrate"])
        if self._running.pop("migration").wait():
            raise self._failed("migration", "failed")
        # one part after the other: several imports of Airflow at once only wait for each other
        api = ["api-server", "--host", "127.0.0.1", "--port", str(self._ports["api"])]
        self._launch("api-server", [*_AIRFLOW, *api])
        await_true(
            partial(self._ready, "api-server", lambda: probes.api_server_answers(self._url)),
            *(_READY_DEADLINE, "stock's API server to answer"),
        )
        for name in ("scheduler", "triggerer", "dag-processor"):
            served = [] if name == "dag-processor" else ["--skip-serve-logs"]
            self._launch(name, [*_AIRFLOW, name, *served])
        worker = ["celery", "worker", "--concurrency", str(layout.slots), "--skip-serve-logs"]
        self._launch(_WORKER, [*_AIRFLOW, *worker, "--celery-hostname", "stock@%h"])
        for name in ("scheduler", "triggerer", "dag-processor"):
            beats = partial(probes.job_beats, self._url, name, self._started[name])
            await_true(
                partial(self._ready, name, beats), _READY_DEADLINE, f"stock's {name} to beat"
            )
        consumes = partial(probes.worker_consumes, self._broker_url, _WORKER)
        await_true(
            partial(self._ready, _WORKER, consumes), _READY_DEADLINE, "stock's worker to consume"
        )

    def _start_servers(self) -> None:
        data = self.folder / "postgres"
        postgres.initialise(data, _PASSWORD)
        self._launch("postgres", postgres.command(data, self._ports["postgres"]))
        config = valkey.write_config(
            self.folder / "broker",
            self._ports["broker"],
            logins=BROKER_ACL,
            passwords=dict.fromkeys(BROKER_ACL, _PASSWORD),
            fsync="everysec",  # as airlane's broker has it
        )
        self._launch("broker", [str(valkey.binary()), str(config)])
        port = self._ports["postgres"]
        answers = partial(postgres.answers, port, _PASSWORD)
        await_true(partial(self._ready, "postgres", answers), 60, "stock's PostgreSQL to answer")
        answers = partial(valkey.answers, self._broker_url)
        await_true(partial(self._ready, "broker", answers), 60, "stock's broker to answer")
        postgres.ensure_logins(port, _PASSWORD, dict.fromkeys(LOGINS, _PASSWORD))

    def _write_settings(self, layout: Layout) -> None:
        database = postgres.url(self._ports["postgres"], "airflow", "airflow", _PASSWORD)
        core = {
            "executor": "CeleryExecutor",
            "dags_folder": str(self.dags),
            "load_examples": "False",
            "dags_are_paused_at_creation": "False",
            "fernet_key": Fernet.generate_key().decode(),
            # spares a password for the calls that start runs
            "simple_auth_manager_all_admins": "True",
        }
        if layout.parallelism is not None:
            core["parallelism"] = str(layout.parallelism)
        settings = {
            "core": core,
            "database": {"sql_alchemy_conn": database},
            "api": {"base_url": self._url, "secret_key": secrets.token_urlsafe(24)},
            "api_auth": {"jwt_secret": secrets.token_urlsafe(24)},
            "celery": {"broker_url": self._broker_url},
            "logging": {"base_log_folder": str(self.folder / "logs" / "tasks")},
            # its default is one port for all stacks of a machine
            "scheduler": {"scheduler_health_check_server_host": "127.0.0.1"},
        }
        (self.folder / "airflow" / "airflow.cfg").write_text(render_cfg(settings))

    def _environment(self, part: str) -> dict[str, str]:
        home = self.folder / "airflow"
        return passed_on() | {
            # the marker by which processes are found; stock Airflow reads neither
            "AIRLANE_HOME": str(self.folder),
            "AIRLANE_PART": part,
            "SPT_NOENV": "1",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONFIG": str(home / "airflow.cfg"),
            "BENCH_QUEUE": QUEUE,
            # as airlane's workers have it: a model must not start a thread for each core
            "OMP_NUM_THREADS": "1",
        }

    def _spawn(self, part: str, words: list[str]) -> None:
        with (self.folder / "logs" / f"{part}.log").open("ab") as log:
            # a process group of its own: Ctrl-C is for the benchmark, which then stops the parts
            self._running[part] = subprocess.Popen(
                words,
                cwd=ROOT,
                env=self._environment(part),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        self._started[part] = time.time()

    def _launch(self, part: str, words: list[str]) -> None:
        self._commands[part] = words
        self._spawn(part, words)

    def _ready(self, part: str, answers: object) -> bool:
        if self._running[part].poll() is not None:
            raise self._failed(part, "ended")
        return bool(answers())  # type: ignore[operator]

    def _failed(self, part: str, what: str) -> BenchError:
        log = self.folder / "logs" / f"{part}.log"
        return BenchError(f"stock: {part} {what}. The end of {log}:\n{last_lines(log)}")

    def _connect(self) -> tuple[Api, Metadata, redis.Redis]:
        database = postgres.url(self._ports["postgres"], "airflow", "airflow", _PASSWORD)
        broker = valkey.url(self._ports["broker"], "operator", _PASSWORD)
        return (
            Api(self._url, token(self._url)),
            Metadata(database.replace("+psycopg", "", 1)),
            redis.Redis.from_url(broker),
        )

    def restart_dag_processor(self) -> None:
        """End it and start another."""
        self._end("dag-processor")
        self._launch("dag-processor", self._commands["dag-processor"])

    def _end(self, *parts: str, grace: float = _STOP_GRACE) -> None:
        ending = [self._running.pop(part) for part in parts if part in self._running]
        for process in ending:
            process.terminate()
        for process in ending:
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _stop(self) -> None:
        # nothing is at work, and nobody needs what it has in hand: a second will do
        self._end("scheduler", "triggerer", "dag-processor", _WORKER, "api-server", grace=1)
        servers = ("postgres", "broker")
        rest = [p for p in leftovers.find(self.folder) if leftovers.part_of(p) not in servers]
        leftovers.end(rest, grace=1)
        self._end("broker")
        if process := self._running.get("postgres"):
            # PostgreSQL takes TERM for a request to wait until its last client has gone
            process.send_signal(signal.SIGINT)
        self._end("postgres")


_AIRFLOW = [sys.executable, "-m", "airflow"]
