"""A fleet on the test hosts, made and changed by the real playbooks."""

# psql's command line takes no parameters; what stands in these queries are the tests' own words.
# ruff: noqa: S608

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import yaml

from tests.hosts.controller import Controller
from tests.hosts.inventory import CANDIDATES, CONTROL, copy_project, misname, write_inventory
from tests.hosts.machines import Machines, await_true
from tests.hosts.network import inside


class Fleet(Controller):
    """The fleet, from its controller: questions to it, beside the plays that change it."""

    def __init__(self, machines: Machines, folder: Path, ansible: Path) -> None:
        super().__init__(machines, folder, ansible)
        self.secrets: dict[str, str] = {}
        self.is_made = False
        #: The host of the group `database`.
        self.database = CONTROL

    def prepare(self) -> None:
        """Write the inventory, and commit the checkout as it is to a repository of its own."""
        misname(self.machines)
        write_inventory(self.inventory, self.machines, self.queues, self.project)
        self._write_secrets()
        copy_project(self.project)
        self.git("init", "-q", "-b", "main")
        self.commit("The checkout")

    def take_over(self) -> None:
        """Go on with the fleet that another session has made from this folder."""
        self._plays = len(list(self.folder.glob("[0-9]*.log")))
        self.secrets = yaml.safe_load(self.run(["ansible-vault", "view", str(self._vault)]))[
            "airlane_secrets"
        ]
        self.is_made = True

    @property
    def _vault(self) -> Path:
        return self.inventory / "group_vars" / "all" / "vault.yml"

    def _write_secrets(self) -> None:
        plain = self.folder / "secrets.yml"
        self.run([sys.executable, "-m", "airlane", "secrets", "init", str(plain)])
        self.secrets = yaml.safe_load(plain.read_text())["airlane_secrets"]
        plain.unlink()
        (self.folder / "vault-password").write_text("correct horse\n")
        self.change_secrets()

    def change_secrets(self, **values: str | None) -> None:
        """Change secrets in the vault (None: take one out), and encrypt it."""
        self.secrets |= {name: value for name, value in values.items() if value}
        kept = {k: v for k, v in self.secrets.items() if not (k in values and values[k] is None)}
        self._vault.touch(mode=0o600)
        self._vault.write_text(yaml.safe_dump({"airlane_secrets": kept}))
        # the password's file is in the environment
        self.run(["ansible-vault", "encrypt", str(self._vault)])

    def airlane(self, *words: str, check: bool = True) -> str:
        """Run `airlane` on the control host, as the control plane's user."""
        return self.machines.shell(
            CONTROL,
            f"sudo -u airlane /opt/airlane/current/bin/airlane {shlex.join(words)}",
            check=check,
        )

    def login_fails(self, database: str, login: str, password: str, *, host: str = "h2") -> bool:
        """Tell whether PostgreSQL refuses a login that comes from a host."""
        ca_file = self.ca_file()
        with inside(host):
            try:
                psycopg.connect(
                    host=self.machines.address(CONTROL),
                    dbname=database,
                    user=login,
                    password=password,
                    sslmode="verify-full",
                    sslrootcert=str(ca_file),
                    connect_timeout=5,
                ).close()
            except psycopg.OperationalError:
                return True
        return False

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return the live workers by name."""
        found = json.loads(self.airlane("workers", "--json"))
        return {worker["name"]: worker for worker in found}

    def answers(self) -> bool:
        """Tell whether the control host says that there are workers."""
        words = "sudo -u airlane /opt/airlane/current/bin/airlane workers --json"
        done = self.machines.run("ssh", CONTROL[1:], words, check=False)
        return done.returncode == 0 and bool(json.loads(done.stdout))

    def rows(self, database: str, query: str) -> list[dict[str, Any]]:
        """Return rows of a database, by its superuser on the database host."""
        wrapped = f"SELECT coalesce(json_agg(found), '[]') FROM ({query}) AS found"
        words = shlex.join(["psql", "-XAtqc", wrapped, database])
        found = self.machines.shell(self.database, f"cd / && sudo -u postgres {words}")
        return list(json.loads(found))

    def have(self, **counts: int) -> None:
        """Bring classes to the first so many of the candidates, where they are not so by now."""
        for name, count in counts.items():
            wanted = CANDIDATES[:count]
            live = {w["host"] for w in self.workers().values() if w["worker_class"] == name}
            if live == set(wanted):
                continue
            come, go = (",".join(sorted(h)) for h in (set(wanted) - live, live - set(wanted)))
            words = {"class": name, "count": count, "hosts_in": come, "hosts_out": go}
            self.play("scale", **words)

    def slots(self) -> dict[str, int]:
        """Return the slots of each pool."""
        rows = self.rows("airflow", "SELECT pool, slots FROM slot_pool")
        return {row["pool"]: row["slots"] for row in rows}

    def ca_file(self) -> Path:
        """Return a copy of the authority's certificate, as the hosts have it."""
        file = self.folder / "ca.pem"
        file.write_text(self.machines.shell(CONTROL, "cat /etc/airlane/tls/ca.pem"))
        return file

    def redis_url(self, server: str, login: str, password: str | None = None) -> str:
        """Return the address of a Redis server for a login."""
        port = {"broker": 6379, "events": 6380}[server]
        password = password or self.secrets[f"{server}_{login}"]
        where = f"{self.machines.address(CONTROL)}:{port}"
        return f"rediss://{login}:{password}@{where}/0?ssl_ca_certs={self.ca_file()}"

    @contextmanager
    def airflow(self) -> Iterator[httpx.Client]:
        """Enter Airflow's REST API, from the hosts' network."""
        with (
            inside(self.machines.switch),
            httpx.Client(
                base_url=f"https://{self.machines.address(CONTROL)}",
                timeout=60,
                trust_env=False,
                verify=str(self.ca_file()),
            ) as client,
        ):
            login = {"username": "admin", "password": self.secrets["airflow_admin"]}
            answer = client.post("/auth/token", json=login)
            assert answer.status_code == httpx.codes.CREATED, answer.text
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            yield client

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Start a run and return its id."""
        with self.airflow() as client:
            body = {"logical_date": None, "conf": conf}
            answer = client.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)
            assert answer.status_code == httpx.codes.OK, answer.text
            return str(answer.json()["dag_run_id"])

    def await_run(self, run_id: str, deadline: float = 300) -> None:
        """Await a run's success."""

        def ended() -> bool:
            found = self.rows("airflow", f"SELECT state FROM dag_run WHERE run_id = '{run_id}'")
            assert found, f"no run {run_id}"
            assert found[0]["state"] != "failed", f"{run_id} failed: {self.tasks(run_id)}"
            return bool(found[0]["state"] == "success")

        await_true(ended, f"{run_id} to succeed", deadline, pause=2)

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """Return the tasks of a run: id, map index, state, try, host."""
        return self.rows(
            "airflow",
            "SELECT task_id, map_index, state, try_number, hostname FROM task_instance "
            f"WHERE run_id = '{run_id}'",
        )

    def sleeping(self, run_id: str, host: str) -> int:
        """Return how many tasks `sleep` of a run are running on a host."""
        return sum(
            (task["task_id"], task["hostname"], task["state"]) == ("sleep", host, "running")
            for task in self.tasks(run_id)
        )

    def log(self, run_id: str, index: int) -> str:
        """Return the log of the first try of a task `sleep`, as Airflow's API shows it."""
        with self.airflow() as client:
            path = f"/api/v2/dags/fleet_sleepers/dagRuns/{run_id}/taskInstances/sleep/logs/1"
            return client.get(path, params={"map_index": index}).raise_for_status().text

    def await_kept(self, run_id: str, index: int, host: str) -> None:
        """Await that the log of a finished task `sleep` has come from its host to its keeper.

        That the host's outbox is empty says less: a run succeeds before its logs are handed over.
        """
        below = f"/var/log/airlane/tasks/dag_id=fleet_sleepers/run_id={run_id}"
        name = f"*/map_index={index}/attempt=1.log.{host}-*"
        kept = f"sudo find '{below}' -path '{name}' -type f || true"
        await_true(lambda: bool(self.machines.shell(CONTROL, kept)), f"a log from {host}", 90)

    def interrupted(self, since: str) -> list[dict[str, Any]]:
        """Return tries of any task that ended otherwise than well since a moment."""
        return self.rows(
            "airflow",
            "SELECT dag_id, task_id, run_id, try_number, state, hostname "
            f"FROM task_instance_history WHERE end_date >= '{since}' "
            "UNION ALL SELECT dag_id, task_id, run_id, try_number, state, hostname "
            "FROM task_instance WHERE state IN ('failed', 'up_for_retry') "
            f"AND end_date >= '{since}'",
        )

    def now(self) -> str:
        """Return the database's time, for `interrupted`."""
        return str(self.rows("app", "SELECT now() AS now")[0]["now"])

    def once(self, events: list[str]) -> None:
        """Expect one run and one ledger row for each event."""
        listed = ", ".join(f"'{event}'" for event in events)
        if not listed:
            return
        rows = self.rows(
            "app",
            f"SELECT event_id, count(*) AS n FROM ledger WHERE event_id IN ({listed}) GROUP BY 1",
        )
        assert {row["event_id"]: row["n"] for row in rows} == dict.fromkeys(events, 1), "ledger"
        runs = ", ".join(f"'signup-{event}'" for event in events)
        rows = self.rows("airflow", f"SELECT run_id, state FROM dag_run WHERE run_id IN ({runs})")
        assert len(rows) == len(events), f"{len(rows)} runs for {len(events)} events"
