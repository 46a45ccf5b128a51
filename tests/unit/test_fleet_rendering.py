"""What a role of a fleet's host is told: from the site file, queues.yaml and its secrets alone."""

from __future__ import annotations

import configparser
import hashlib
import json
import runpy
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from airflow_config import queues
from deploy.fleet import rendering, secrets
from deploy.fleet.host import Host
from deploy.fleet.secrets import Role
from tests.fleet_hosts import QUEUES, made


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return made(tmp_path_factory.mktemp("host"))


def files(host: Host, role: Role, text: str = QUEUES) -> dict[Path, str]:
    return rendering.files(host, queues.read(text), role, host.secrets(role))


def cfg(host: Host, role: Role) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string(files(host, role)[host.airflow_config(role)])
    return parser


@pytest.mark.parametrize("role", secrets.ROLES)
def test_every_file_lies_in_the_folder_of_its_role(host: Host, role: Role) -> None:
    found = files(host, role)
    assert found
    assert all(path.is_relative_to(host.state(role)) for path in found)


@pytest.mark.parametrize("role", secrets.ROLES)
def test_no_secret_is_there_but_the_roles_own(host: Host, role: Role) -> None:
    everything = {
        name: value for other in secrets.ROLES for name, value in host.secrets(other).items()
    }
    text = "\n".join(files(host, role).values())
    shown = {name for name, value in everything.items() if value in text}
    assert shown <= set(secrets.NEEDS[role])


def test_the_metadata_database_is_reached_by_tls_with_both_drivers(host: Host) -> None:
    found = cfg(host, "control")["database"]
    url = make_url(found["sql_alchemy_conn"])
    assert (url.drivername, url.host, url.port, url.database) == (
        *("postgresql+psycopg", "db.example", 5432, "airflow"),
    )
    assert url.query == {"sslmode": "verify-full", "sslrootcert": str(host.site.tls.ca)}
    assert url.password == host.secrets("control")["airflow"]
    other = make_url(found["sql_alchemy_conn_async"])
    assert other.drivername == "postgresql+asyncpg"
    # asyncpg refuses what it does not know
    assert other.query == {"ssl": "verify-full"}


@pytest.mark.parametrize("role", ["control", "worker", "flower"])
def test_the_broker_is_reached_by_tls(host: Host, role: Role) -> None:
    from kombu.utils.url import parse_url

    found = cfg(host, role)["celery"]
    assert found["broker_url"] == found["result_backend"]
    parts = parse_url(found["broker_url"])
    assert parts["transport"] == "rediss"
    assert parts["hostname"] == "redis.example"
    assert parts["ssl"]["ssl_ca_certs"] == str(host.site.tls.ca)
    assert int(parts["ssl"]["ssl_cert_reqs"]) == 2  # ssl.CERT_REQUIRED
    # what Flower looks at
    assert (found["ssl_active"], found["ssl_mutual_tls"]) == ("True", "False")
    assert found["ssl_cacert"] == str(host.site.tls.ca)


def test_redis_py_takes_the_events_address(host: Host) -> None:
    import redis

    address = host.events_url("relay", "secret-of-the-relay")
    with redis.Redis.from_url(address) as client:
        found = client.connection_pool.connection_kwargs
        assert found["ssl_ca_certs"] == str(host.site.tls.ca)
        assert found["ssl_cert_reqs"] == "required"
        assert client.connection_pool.connection_class is redis.SSLConnection


def test_only_the_log_server_of_a_worker_host_has_the_key_of_log_requests(host: Host) -> None:
    key = host.secrets("control")["api_secret_key"]
    assert cfg(host, "control")["api"]["secret_key"] == key
    # made of one set of secrets in these tests
    assert cfg(host, "logs")["api"]["secret_key"] == host.secrets("logs")["api_secret_key"]
    assert "secret_key" not in cfg(host, "worker")["api"]


def test_workers_call_the_api_by_tls(host: Host) -> None:
    found = cfg(host, "worker")
    assert found["core"]["execution_api_server_url"] == "https://airflow.example/execution/"
    assert found["api"]["ssl_ca_file"] == str(host.site.tls.ca)


def test_the_intake_is_told_its_certificate_authority(host: Host) -> None:
    folder = host.state("control") / "secrets" / "intake"
    found = files(host, "control")
    assert found[folder / "ca_file"] == str(host.site.tls.ca)
    assert found[folder / "api_url"] == "https://airflow.example"
    assert "sslmode=verify-full" in found[folder / "app_db_url"]
    assert found[folder / "events_url"].startswith("rediss://intake:")


def classes(host: Host, text: str) -> dict[str, str]:
    folder = host.state("worker") / "classes"
    found = files(host, "worker", text)
    return {path.stem: content for path, content in found.items() if path.parent == folder}


def test_a_change_of_one_queue_touches_the_classes_that_serve_it(host: Host) -> None:
    before = classes(host, QUEUES)
    assert set(before) == {"onboarding", "control", "batch"}
    after = classes(host, QUEUES.replace("task_timeout: 5m", "task_timeout: 4m"))
    assert {name for name in before if before[name] != after[name]} == {"control", "batch"}
    after = classes(host, QUEUES.replace("lends_to: [control, onboarding]", "lends_to: [control]"))
    assert {name for name in before if before[name] != after[name]} == {"batch"}


def test_a_comment_touches_no_class(host: Host) -> None:
    assert classes(host, QUEUES) == classes(host, f"# a word\n{QUEUES}")


def test_redis_speaks_tls_alone_and_forgets_nothing(host: Host) -> None:
    for role, port in (("redis-broker", 6379), ("redis-events", 6380)):
        found = files(host, role)
        lines = found[host.state(role) / "server.conf"].splitlines()
        assert "port 0" in lines
        assert f"tls-port {port}" in lines
        assert "maxmemory-policy noeviction" in lines
        assert "appendonly yes" in lines
        assert f'tls-key-file "{host.site.tls.key}"' in lines
        acl = found[host.state(role) / "users.acl"]
        assert acl.startswith("user default off\n")
        assert not [value for value in host.secrets(role).values() if value in acl]
    assert f"maxmemory {512 * 2**20}" in lines


def test_redis_takes_the_former_passwords_while_they_are_changed(tmp_path: Path) -> None:
    host = made(tmp_path)

    def digests(login: str) -> list[str]:
        text = files(host, "redis-broker")[host.state("redis-broker") / "users.acl"]
        line = next(line for line in text.splitlines() if line.startswith(f"user {login} "))
        return [word for word in line.split() if word.startswith("#")]

    only = digests("airflow")
    assert len(only) == 1
    former = host.folder / "former-secrets" / "redis-broker"
    former.mkdir(parents=True)
    (former / "broker_airflow").write_text("the one before\n")
    before = hashlib.sha256(b"the one before").hexdigest()
    assert digests("airflow") == [*only, f"#{before}"]
    assert len(digests("operator")) == 1
    # one that was not changed is taken once
    (former / "broker_airflow").write_text(host.secrets("redis-broker")["broker_airflow"])
    assert digests("airflow") == only


def test_flower_is_below_its_path_and_read_only(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "flower.py"
    path.write_text(files(host, "flower")[host.state("flower") / "flower.py"])
    found = runpy.run_path(str(path))
    assert found["url_prefix"] == "flower"
    assert found["read_only"] is True
    assert found["address"] == "127.0.0.1"


def test_logs_stay_longer_than_any_task_runs(host: Host) -> None:
    found = json.loads(files(host, "logs")[host.state("logs") / "shipping.json"])
    assert found["keeps"] is False
    assert found["orphaned_s"] > 6 * 3600
    assert found["keepers"] == ["c1.example", "c2.example"]
