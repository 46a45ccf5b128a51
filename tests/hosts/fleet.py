"""A fleet on the test hosts, made and changed by the real playbooks."""

# psql's command line takes no parameters; what stands in these queries are the tests' own words.
# ruff: noqa: S608

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from airflow_config.place import ROOT
from tests.hosts.machines import Machines, await_true
from tests.hosts.network import inside

PLAYBOOKS = ROOT / "deploy" / "ansible" / "playbooks"

#: Seconds; they end a play that would never end. How long plays take is measured and printed.
_PLAY_DEADLINE = 1500

#: The control host; databases, Redis and the control class's worker are there too.
CONTROL = "h1"
#: Who serves which class at the beginning; the other hosts are candidates.
MEMBERS = {"onboarding": ["h2"], "batch": ["h2"], "control": [CONTROL]}
CANDIDATES = ["h2", "h3", "h4"]

_RECAP = re.compile(r"^(\S+)\s+: (ok=.*)$", re.M)
_FOREIGN = re.compile(r"AIRFLOW|AIRLANE|ANSIBLE|CELERY|PYTHONPATH|PG")


@dataclass(frozen=True)
class Played:
    """What a playbook did.

    Parameters
    ----------
    code
        Exit code of ansible-playbook.
    output
        All that it printed.
    seconds
        How long it took.
    recap
        Host -> counts: ok, changed, unreachable, failed, ...
    """

    code: int
    output: str
    seconds: float
    recap: dict[str, dict[str, int]]

    def changed(self) -> dict[str, int]:
        """Return the hosts on which something changed, and how much."""
        return {host: counts["changed"] for host, counts in self.recap.items() if counts["changed"]}

    def expect_said(self, *words: str) -> None:
        """Expect words in the output, whatever the line breaks."""
        said = " ".join(self.output.replace("\\n", " ").split())
        missing = [word for word in words if " ".join(word.split()) not in said]
        assert not missing, f"expected {missing} in:\n{self.output[-4000:]}"


class Fleet:
    """The fleet.

    Parameters
    ----------
    machines
        Its hosts.
    folder
        For the inventory, the project of which releases are made, and logs of plays.
    ansible
        Folder of ansible-playbook and its kind.
    """

    def __init__(self, machines: Machines, folder: Path, ansible: Path) -> None:
        self.machines = machines
        self.folder = folder
        self.inventory = folder / "inventories" / "test"
        self.project = folder / "project"
        self.queues = self.inventory.parent / "queues.yaml"
        self._ansible = ansible
        self._plays = 0
        #: Play -> seconds, in order; printed at the end.
        self.times: list[tuple[str, float]] = []
        self.is_made = False

    def prepare(self) -> None:
        """Write the inventory, and commit the checkout as it is to a repository of its own."""
        shutil.copytree(ROOT / "deploy" / "ansible" / "inventories" / "small", self.inventory)
        shutil.copy(Path(__file__).with_name("queues.yaml"), self.queues)
        self._write_inventory()
        self._write_secrets()
        self._copy_project()

    def _write_inventory(self) -> None:
        count = len(CANDIDATES) + 1
        hosts = {
            f"h{i}": {"ansible_host": self.machines.address(f"h{i}")} for i in range(1, count + 1)
        }
        here = dict.fromkeys([CONTROL])
        groups = {
            "all": {"hosts": hosts},
            # not `all`: the controller would take it for its own
            "vms": {"hosts": dict.fromkeys(hosts), "vars": self.machines.inventory_variables()},
            **{name: {"hosts": here} for name in ("control", "database", "redis")},
            "candidates": {"hosts": dict.fromkeys(CANDIDATES)},
        }
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(groups, sort_keys=False))
        children = {
            f"workers_{name}": {"hosts": dict.fromkeys(hosts)} for name, hosts in MEMBERS.items()
        }
        members = {"workers": {"children": children}}
        (self.inventory / "members.yml").write_text(yaml.safe_dump(members, sort_keys=False))
        settings = self.inventory / "group_vars" / "all" / "fleet.yml"
        values = yaml.safe_load(settings.read_text()) | {
            "airlane_queues_file": str(self.queues),
            "airlane_controller_command": str(Path(sys.executable).with_name("airlane")),
            "airlane_people_from": [f"{self.machines.address(CONTROL).rpartition('.')[0]}.1"],
            "airlane_producers_from": [f"{self.machines.address(CONTROL).rpartition('.')[0]}.1"],
            "release_source": str(self.project),
            "release_builder_python": sys.executable,
            # a test host's disk is the machine's
            "airlane_space_new_mb": 2000,
            "release_min_free_mb": 2000,
            # time comes from the machine; there is no way out to a server
            "base_timesync": False,
            "postgres_memory_mb": 1024,
        }
        settings.write_text(yaml.safe_dump(values, sort_keys=False))

    def _write_secrets(self) -> None:
        plain = self.folder / "secrets.yml"
        self._run([sys.executable, "-m", "airlane", "secrets", "init", str(plain)])
        self.secrets: dict[str, str] = yaml.safe_load(plain.read_text())["airlane_secrets"]
        plain.unlink()
        (self.folder / "vault-password").write_text("correct horse\n")
        self.change_secrets()

    def change_secrets(self, **values: str | None) -> None:
        """Change secrets in the vault (None: take one out), and encrypt it."""
        self.secrets |= {name: value for name, value in values.items() if value}
        kept = {k: v for k, v in self.secrets.items() if not (k in values and values[k] is None)}
        vault = self.inventory / "group_vars" / "all" / "vault.yml"
        vault.touch(mode=0o600)
        vault.write_text(yaml.safe_dump({"airlane_secrets": kept}))
        # the password's file is in the environment
        tool = str(self._ansible / "ansible-vault")
        self._run([tool, "encrypt", str(vault)])

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

    def _copy_project(self) -> None:
        """Copy what git knows and would take, as it is now: that is what is tested."""
        words = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
        for name in self._run(words).split("\0"):
            source = ROOT / name
            if name and source.is_file():
                target = self.project / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        for file in Path(__file__).with_name("dags").glob("*.py"):
            shutil.copy(file, self.project / "dags")
        self.git("init", "-q", "-b", "main")
        self.commit("The checkout")

    def git(self, *words: str) -> str:
        """Run git in the project of which releases are made."""
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        return self._run(["git", "-C", str(self.project), *who, *words])

    def commit(self, subject: str) -> str:
        """Commit everything in the project and return the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)
        return self.git("rev-parse", "HEAD").strip()

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=300, env=self._environment()
        )
        if done.returncode:
            pytest.fail(f"{shlex.join(words)}: exit {done.returncode}\n{done.stderr[-3000:]}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {k: v for k, v in os.environ.items() if not _FOREIGN.match(k)} | {
            "ANSIBLE_CONFIG": str(ROOT / "deploy" / "ansible" / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible-home"),
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.folder / "vault-password"),
            "ANSIBLE_NOCOLOR": "1",
            # their own ssh enters the hosts' network; for tools that start one by its name
            "PATH": f"{self.machines.state / 'bin'}:{self._ansible}:{os.environ['PATH']}",
            # wheels are made once, and kept between sessions
            "XDG_CACHE_HOME": str(self.machines.state / "cache"),
            "LC_ALL": "C.UTF-8",
        }

    def play(
        self,
        name: str,
        *words: str,
        code: int | None = 0,
        deadline: float = _PLAY_DEADLINE,
        **variables: Any,
    ) -> Played:
        """Run a playbook and compare its exit code (0; None: any will do).

        Parameters
        ----------
        name
            Without `.yml`.
        words
            Options, such as `--check`.
        variables
            Of `-e`.
        """
        command = [
            str(self._ansible / "ansible-playbook"),
            *("-i", str(self.inventory), str(PLAYBOOKS / f"{name}.yml"), *words),
        ]
        if variables:
            command += ["-e", json.dumps(variables)]
        self._plays += 1
        log = self.folder / f"{self._plays:02}-{name}.log"
        begin = time.monotonic()
        with log.open("w") as output:
            try:
                done = subprocess.run(
                    command,
                    env=self._environment(),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    timeout=deadline,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                pytest.fail(f"{name}.yml did not end in {deadline:g} s\n{log.read_text()[-5000:]}")
        spent = time.monotonic() - begin
        said = " ".join((name, *words, *(f"{k}={v}" for k, v in variables.items())))
        self.times.append((said, spent))
        text = log.read_text()
        recap = {
            host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counts)}
            for host, counts in _RECAP.findall(text)
        }
        if code is not None and done.returncode != code:
            pytest.fail(
                f"{said}: expected exit code {code}, found {done.returncode}; {log}\n{text[-6000:]}"
            )
        return Played(done.returncode, text, spent, recap)

    def begin_play(self, name: str, **variables: Any) -> subprocess.Popen[str]:
        """Start a playbook and return it; its output is a pipe."""
        return subprocess.Popen(
            [
                str(self._ansible / "ansible-playbook"),
                *("-i", str(self.inventory), str(PLAYBOOKS / f"{name}.yml")),
                *("-e", json.dumps(variables)),
            ],
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def airlane(self, *words: str, check: bool = True) -> str:
        """Run `airlane` on the control host, as the control plane's user."""
        return self.machines.shell(
            CONTROL,
            f"sudo -u airlane /opt/airlane/current/bin/airlane {shlex.join(words)}",
            check=check,
        )

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
        """Return rows of a database, by its superuser on the control host."""
        wrapped = f"SELECT coalesce(json_agg(found), '[]') FROM ({query}) AS found"
        words = shlex.join(["psql", "-XAtqc", wrapped, database])
        return list(json.loads(self.machines.shell(CONTROL, f"cd / && sudo -u postgres {words}")))

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
