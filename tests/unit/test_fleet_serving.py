"""What the units of a host run: command lines, environments, and how they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from airflow_config import queues, release
from airflow_config.place import ROOT
from deploy.fleet import secrets, serving
from deploy.fleet.host import Host
from deploy.fleet.serving import PARTS, Program, ServeError, program
from tests.fleet_hosts import QUEUES, made

FLEET = queues.read(QUEUES)
CALLER = {
    "PATH": "/usr/bin",
    "NOTIFY_SOCKET": "/run/systemd/notify",
    "RUNTIME_DIRECTORY": "/run/airlane/relay",
    "AIRFLOW__CORE__PARALLELISM": "1",
    "http_proxy": "http://proxy.example",
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return made(tmp_path_factory.mktemp("host"))


def served(host: Host, part: str, caller: Mapping[str, str] = CALLER) -> Program:
    return program(host, FLEET, part, "batch" if part == "worker" else None, caller)


@pytest.mark.parametrize("part", PARTS)
def test_no_secret_is_on_a_command_line_or_in_an_environment(host: Host, part: str) -> None:
    found = served(host, part)
    shown = " ".join([*found.words, *found.environment.values()])
    for role in secrets.ROLES:
        assert not [n for n, value in host.secrets(role).items() if value in shown], role


@pytest.mark.parametrize("part", PARTS)
def test_a_units_environment_cannot_change_a_part(host: Host, part: str) -> None:
    found = served(host, part).environment
    assert "http_proxy" not in found
    assert "AIRFLOW__CORE__PARALLELISM" not in found
    assert found["NOTIFY_SOCKET"] == "/run/systemd/notify"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_runs_this_release(host: Host, part: str) -> None:
    found = served(host, part).environment
    assert found["PYTHONPATH"] == str(ROOT)
    assert found["AIRFLOW__CORE__DAGS_FOLDER"] == str(ROOT / "dags")
    assert found[release.VARIABLE] == release.current()


def test_who_knows_which_secrets(host: Host) -> None:
    known = {
        part: Path(served(host, part).environment["AIRLANE_SECRETS"]).name
        for part in PARTS
        if "AIRLANE_SECRETS" in served(host, part).environment
    }
    assert known == {"triggerer": "intake", "relay": "relay", "worker": "worker"}


def test_a_worker_knows_its_class_the_outbox_and_the_api_of_batch_tasks(host: Host) -> None:
    found = served(host, "worker")
    assert found.environment["AIRLANE_PART"] == "worker-batch"
    assert found.environment["AIRLANE_LOG_OUTBOX"] == str(host.outbox)
    assert found.environment["AIRLANE_BATCH_API"] == "https://airflow.example:8444/execution/"
    assert found.environment["OMP_NUM_THREADS"] == "1"
    assert "--skip-serve-logs" in found.words


@pytest.mark.parametrize("part", ["api-server", "batch-api"])
def test_api_servers_listen_on_loopback_behind_a_proxy(host: Host, part: str) -> None:
    from airflow.cli.cli_parser import get_parser

    words = served(host, part).words
    found = get_parser().parse_args(words[words.index("api-server") :])
    assert found.host == "127.0.0.1"
    assert found.proxy_headers is True
    assert found.apps == served(host, part).environment.get("AIRFLOW_API_APPS", "all")


def test_the_log_server_listens_on_the_hosts_own_address(host: Host) -> None:
    words = served(host, "log-server").words
    assert words[words.index("--host") + 1] == host.site.address


def test_the_relay_beats_in_the_folder_of_its_unit(host: Host) -> None:
    assert served(host, "relay").words[-1] == "/run/airlane/relay/heartbeat"


@pytest.mark.parametrize(
    ("part", "class_name", "said"),
    [
        ("shceduler", None, "did you mean 'scheduler'?"),
        ("worker", None, "expected the class of the worker, found none"),
        ("worker", "bacth", "did you mean 'batch'?"),
        ("relay", "batch", "expected --class with the part worker only"),
    ],
)
def test_a_wrong_call_is_refused(host: Host, part: str, class_name: str | None, said: str) -> None:
    with pytest.raises(ServeError) as error:
        program(host, FLEET, part, class_name, CALLER)
    assert said in str(error.value)


def test_a_part_whose_role_was_not_rendered_says_so(host: Host) -> None:
    with pytest.raises(ServeError) as error:
        serving.check_rendered(host, "scheduler")
    assert f"expected {host.airflow_config('control')} to be there" in str(error.value)
    assert "Fix: airlane fleet render control" in str(error.value)
