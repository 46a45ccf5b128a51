"""A fresh stack: its state, its doors, and the commands that look at it."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from airflow_config.place import ROOT
from deploy.local.site import PORT_NAMES
from deploy.local.supervisor import Supervisor
from tests.acceptance.stack import Stack, is_recent_utc
from tests.servers import wait_until

PARTS = [
    *("postgres", "broker", "events", "api-server", "batch-api", "scheduler"),
    *("dag-processor", "triggerer", "relay"),
    *("worker-onboarding", "worker-control", "worker-batch", "flower"),
]


def test_status_tells_every_part(stack: Stack) -> None:
    found = stack.await_health()
    assert set(found) == {"healthy", "parts", "unserved", "urls"}
    assert found["unserved"] == []
    assert found["healthy"] is True
    assert [part["name"] for part in found["parts"]] == PARTS
    for part in found["parts"]:
        assert set(part) == {"name", "state", "pid", "restarts", "since", "url"}
        assert part["state"] == "running"
        assert psutil.pid_exists(part["pid"])
        assert part["restarts"] == 0
        assert is_recent_utc(part["since"])
    urls = {part["name"]: part["url"] for part in found["parts"]}
    assert found["urls"] == {"airflow": urls["api-server"], "flower": urls["flower"]}
    assert urls["scheduler"] is None
    for url in found["urls"].values():
        assert httpx.get(url, follow_redirects=True, trust_env=False).status_code in {200, 401}
    assert "worker-onboarding" in stack.run("status", code=None).stdout


def test_status_tells_a_part_that_is_down_and_up_starts_it(stack: Stack) -> None:
    others = {part["name"]: part["pid"] for part in stack.await_health()["parts"]}
    Supervisor(stack.instance).stop_part("flower")
    found = stack.json("status", code=1)
    assert found["healthy"] is False
    down = [part["name"] for part in found["parts"] if part["state"] == "stopped"]
    assert down == ["flower"]
    stack.up()
    after = {part["name"]: part["pid"] for part in stack.await_health()["parts"]}
    assert after.pop("flower") != others.pop("flower")
    assert after == others


def test_a_second_up_does_nothing_and_says_so(stack: Stack) -> None:
    before = [part["pid"] for part in stack.await_health()["parts"]]
    assert "The stack was up already." in stack.up()
    assert [part["pid"] for part in stack.await_health()["parts"]] == before


def test_nothing_listens_beyond_loopback(stack: Stack) -> None:
    open_ports = {
        (connection.laddr.ip, connection.laddr.port)
        for process in stack.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN or not connection.raddr
    }
    wanted = {("127.0.0.1", stack.instance.port(name)) for name in PORT_NAMES}
    assert wanted <= open_ports
    assert {address for address, _ in open_ports} == {"127.0.0.1"}


def test_secrets_are_the_owners_alone(stack: Stack) -> None:
    # the folder itself lets nobody else in, whatever lies there
    assert stat.S_IMODE(stack.folder.stat().st_mode) == 0o700
    secrets = stack.instance.keys.values()
    holders = set()
    for path in stack.folder.rglob("*"):
        if path.is_file() and not {"postgres", "logs"} & set(path.relative_to(stack.folder).parts):
            content = path.read_bytes()
            if any(secret.encode() in content for secret in secrets):
                holders.add(path.relative_to(stack.folder).as_posix())
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert {"secrets/keys.json", "airflow/control.cfg", "airflow/worker.cfg", "run/flower.py"} <= (
        holders
    )


def test_no_secret_is_on_a_command_line_or_in_an_environment(stack: Stack) -> None:
    secrets = stack.instance.keys
    seen = 0
    for process in stack.processes():
        try:
            said = " ".join([*process.cmdline(), *process.environ().values()])
        except psutil.NoSuchProcess:
            continue
        seen += 1
        assert [name for name, secret in secrets.items() if secret in said] == [], process
    assert seen > len(PARTS)


def test_no_secret_is_in_a_log(stack: Stack) -> None:
    secrets = stack.instance.keys
    for path in (stack.folder / "logs").rglob("*.log"):
        text = path.read_text(errors="replace")
        assert [name for name, secret in secrets.items() if secret in text] == [], path
        assert "eyJ" not in text, f"a token in {path}"


def test_workers_know_no_other_database_than_app(stack: Stack) -> None:
    address = {"host": "127.0.0.1", "port": stack.instance.port("postgres")}
    login = {"user": "airlane_worker", "password": stack.instance.keys["airlane_worker"]}
    with psycopg.connect(**address, **login, dbname="app") as connection:
        assert connection.execute("SELECT count(*) FROM applicants").fetchone() == (1000,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM ledger")
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(**address, **login, dbname="airflow")
    # and the settings that they read tell them no other login
    known = (stack.folder / "airflow" / "worker.cfg").read_text()
    assert stack.instance.keys["airflow"] not in known


def test_flower_refuses_without_login(stack: Stack) -> None:
    url = stack.instance.flower_url
    with httpx.Client(base_url=url, trust_env=False) as stranger:
        for path in ("/", "/broker", "/tasks", "/workers", "/api/tasks", "/api/workers"):
            assert stranger.get(path).status_code == httpx.codes.UNAUTHORIZED, path
    wrong = httpx.get(f"{url}/broker", auth=("inspector", "guess"), trust_env=False)
    assert wrong.status_code == httpx.codes.UNAUTHORIZED


def test_flower_shows_and_changes_nothing(stack: Stack) -> None:
    door = stack.door("Flower")
    with httpx.Client(base_url=stack.instance.flower_url, auth=door, trust_env=False) as client:
        for path in ("/broker", "/tasks", "/workers"):
            assert client.get(path).status_code == httpx.codes.OK, path
        assert "batch" in client.get("/broker").text
        for path in ("worker/shutdown/batch@x", "worker/pool/shrink/batch@x", "task/revoke/x"):
            answer = client.post(f"/api/{path}")
            assert answer.status_code == httpx.codes.FORBIDDEN, path


def test_a_person_enters_airflow_with_the_password_that_up_printed(stack: Stack) -> None:
    with stack.airflow() as client:
        assert client.get("/api/v2/dags").status_code == httpx.codes.OK
    wrong = {"username": "admin", "password": "guess"}
    answer = httpx.post(f"{stack.instance.api_url}/auth/token", json=wrong, trust_env=False)
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    stranger = httpx.get(f"{stack.instance.api_url}/api/v2/dags", trust_env=False)
    assert stranger.status_code == httpx.codes.UNAUTHORIZED


def test_queues_are_those_of_the_model(stack: Stack) -> None:
    found = stack.json("queues")
    for queue in found:
        assert set(queue) == {
            *("name", "priority", "waiting", "unacked", "oldest_s", "scheduled", "running"),
            *("slots_used", "slots_total", "workers", "promise", "kept"),
            *("arrivals_per_minute", "completions_per_minute"),
        }
    facts = [(q["name"], q["priority"], q["slots_total"], q["workers"]) for q in found]
    assert facts == [("onboarding", 100, 16, 2), ("control", 50, 10, 2), ("batch", 1, 8, 1)]


@pytest.mark.parametrize("name", ["queues", "workers", "status"])
def test_a_live_view_goes_on_until_ctrl_c(stack: Stack, name: str) -> None:
    words = [sys.executable, "-m", "airlane", name, "--watch", "0.5", "--json"]
    with subprocess.Popen(
        words, cwd=ROOT, env=stack.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for _ in range(3):
                assert json.loads(process.stdout.readline())
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            assert process.wait(60) == 130
            assert process.stderr.read() == b""
        finally:
            process.kill()


def test_check_finds_nothing_in_our_own_dags_and_something_in_a_bad_one(
    stack: Stack, tmp_path: Path
) -> None:
    assert stack.json("check") == []
    (tmp_path / "bad.py").write_text(
        "from airflow.sdk import DAG\n"
        "from airflow.providers.standard.operators.empty import EmptyOperator\n"
        "with DAG('greedy', schedule=None):\n"
        "    EmptyOperator(task_id='pushes_in', queue='onboarding')\n"
    )
    problems = stack.json("check", "--dags", str(tmp_path), code=1)
    assert len(problems) == 1
    assert "bad.py" in json.dumps(problems)
    assert "greedy" in json.dumps(problems)


def test_a_dag_that_the_policies_refuse_is_an_import_error_until_its_file_is_gone(
    stack: Stack,
) -> None:
    file = stack.dags / "misspelt_queue.py"

    with stack.airflow() as client:

        def told() -> list[str]:
            answer = client.get("/api/v2/importErrors", params={"limit": 100}).raise_for_status()
            errors = answer.json()["import_errors"]
            return [e["stack_trace"] for e in errors if e["filename"].endswith(file.name)]

        assert told() == []
        file.write_text(
            "from airflow.sdk import DAG\n"
            "from airflow.providers.standard.operators.empty import EmptyOperator\n"
            "with DAG('misspelt', schedule=None):\n"
            "    EmptyOperator(task_id='greets', queue='onbording')\n"
        )
        try:
            wait_until(lambda: bool(told()), "the import error", 180)
            (said,) = told()
        finally:
            file.unlink()
        where = "misspelt_queue.py:4: DAG 'misspelt', task 'greets': queue: expected one of "
        assert where in said
        assert "found 'onbording'; did you mean 'onboarding'?" in said
        wait_until(lambda: not told(), "the import error to be gone with the file", 300)
        gone = client.get("/api/v2/dags/misspelt")
        assert gone.status_code == httpx.codes.NOT_FOUND, "it was never taken in"


def test_logs_show_a_parts_end(stack: Stack) -> None:
    assert stack.run("logs", "relay").stdout.startswith("relay: ready")
    assert len(stack.run("logs", "worker-batch", "-n", "3").stdout.splitlines()) == 3
    words = f"set -o pipefail; {sys.executable} -m airlane logs -f relay | head -n 1"
    followed = subprocess.run(
        ["bash", "-c", words],
        cwd=ROOT,
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (followed.returncode, followed.stdout.partition(" ")[0]) == (0, "relay:")
    unknown = stack.run("logs", "schedular", code=2)
    assert "scheduler" in unknown.stderr


def test_env_serves_airflow_psql_and_celery_by_hand(stack: Stack) -> None:
    exports = stack.run("env").stdout
    commands = (
        "airflow version",
        "psql -tAc 'SELECT count(*) FROM applicants'",
        "psql -tA -U airflow -d airflow -c 'SELECT count(*) > 0 FROM alembic_version'",
        "celery inspect ping --timeout 10 | grep -c OK",
    )
    for command, answer in zip(commands, ("3.3.2", "1000", "t", "3"), strict=True):
        done = subprocess.run(
            ["sh", "-c", f'eval "$EXPORTS"; {command}'],
            env={**stack.environment, "EXPORTS": exports},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout.strip() == answer, f"{command}:\n{done.stdout}{done.stderr}"


def test_redis_speaks_to_the_events_and_to_the_broker(stack: Stack) -> None:
    assert "PONG" in stack.run("redis", "PING").stdout
    assert stack.run("redis", "XLEN", "signups").stdout.startswith("(integer) ")
    assert stack.run("redis", "--broker", "LLEN", "batch").stdout == "(integer) 0\n"
    assert "(error)" in stack.run("redis", "NOSUCHCOMMAND", code=1).stdout
    assert "no permissions" in stack.run("redis", "FLUSHALL", code=1).stdout
    stack.run("redis", code=2)


def test_worker_shows_its_command_line(stack: Stack) -> None:
    words = stack.run("worker", "batch", "--show").stdout.split()
    assert words[words.index("--queues") + 1] == "onboarding,control,batch"
    assert words[words.index("--concurrency") + 1] == "8"
    assert "onboarding" in stack.run("worker", "onbording", "--show", code=2).stderr


def test_a_folder_without_instance_has_nothing_to_look_at(stack: Stack, tmp_path: Path) -> None:
    other = Stack(tmp_path / "none")
    for command in ("status", "queues", "signup 7"):
        assert "airlane up" in other.run(*command.split(), code=2).stderr, command
    assert "Nothing to stop" in other.run("down").stdout
    assert "Nothing to delete" in other.run("reset", "--yes").stdout
    assert not other.folder.exists()


def test_two_instances_have_ports_of_their_own(stack: Stack, tmp_path: Path) -> None:
    other = Stack(tmp_path / "other").instance
    other.create()
    ports = {
        name: stack.instance.state()["ports"][name] for name in stack.instance.state()["ports"]
    }
    others = other.state()["ports"]
    assert set(others) == set(ports)
    assert not set(others.values()) & set(ports.values())
    assert not set(other.keys.values()) & set(stack.instance.keys.values())
