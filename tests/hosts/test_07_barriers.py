"""What a worker host, and whoever has taken one over, cannot do."""

from __future__ import annotations

import socket
from collections.abc import Callable

import httpx
import pytest
import redis

from tests.hosts.fleet import Fleet
from tests.hosts.inventory import CANDIDATES, CONTROL
from tests.hosts.network import inside
from tests.hosts.signups import SignUps

pytestmark = pytest.mark.short

#: Ports that are open to a worker host, on the control host: ssh, the APIs by nginx, PostgreSQL,
#: the broker. Not the events server: a worker's decisions go out by the database.
OPEN = {22, 443, 8444, 5432, 6379}
#: Ports on which something listens there, or might.
LOOKED_AT = sorted({*OPEN, 80, 111, 5555, 6380, 8080, 8081, 8125, 8793, 8794, 9090, 9001})
#: On a worker host, from another one.
OPEN_ON_WORKERS = {22}

#: A port that a firewall closes gives no answer at all.
QUICK = {"socket_timeout": 3, "socket_connect_timeout": 3}
REFUSED = (redis.exceptions.AuthenticationError, redis.ConnectionError, redis.TimeoutError)


def _reachable(host: str, address: str, port: int) -> bool:
    with inside(host):
        try:
            socket.create_connection((address, port), timeout=2).close()
        except OSError:
            return False
    return True


def test_only_the_ports_that_are_needed_are_open(fleet: Fleet, signups: SignUps) -> None:
    address = fleet.machines.address(CONTROL)
    assert {port for port in LOOKED_AT if _reachable("h2", address, port)} == OPEN
    address = fleet.machines.address("h2")
    assert {port for port in LOOKED_AT if _reachable("h3", address, port)} <= OPEN_ON_WORKERS


def test_what_listens_is_behind_the_firewall_or_on_loopback(fleet: Fleet, signups: SignUps) -> None:
    """From a place that is nobody: the switch's own address is a person's and a producer's."""
    for host in (CONTROL, "h2"):
        listening = fleet.machines.shell(host, "sudo ss -Hltn | awk '{print $4}'").split()
        own = ("127.", "[::1]")
        ports = {int(x.rpartition(":")[2]) for x in listening if not x.startswith(own)}
        # h4 serves no class: it has no more rights than a stranger
        open_ports = {
            port for port in ports if _reachable("h4", fleet.machines.address(host), port)
        }
        assert open_ports <= {22}, host


@pytest.mark.parametrize("login", ["airflow", "airlane_owner", "airlane_relay", "postgres"])
def test_the_metadata_database_refuses_a_worker_host(
    fleet: Fleet, signups: SignUps, login: str
) -> None:
    # with the right password, as one who has stolen it
    assert fleet.login_fails("airflow", login, fleet.secrets[login])


def test_a_worker_enters_its_own_database_only(fleet: Fleet, signups: SignUps) -> None:
    password = fleet.secrets["airlane_worker"]
    assert not fleet.login_fails("app", "airlane_worker", password)
    assert fleet.login_fails("airflow", "airlane_worker", password)
    assert fleet.login_fails("app", "airlane_worker", password, host="h4"), "from a strange host"


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda client: client.xadd("decisions", {"json": "{}"}),
        lambda client: client.xread({"signups": "0-0"}),
        lambda client: client.delete("signups"),
        lambda client: client.keys("*"),
        lambda client: client.config_get("*"),
        lambda client: client.flushall(),
        lambda client: client.eval("return 1", 0),
    ],
    ids=["decide", "read-signups", "delete", "keys", "config", "flush", "script"],
)
def test_the_events_server_refuses_what_a_producer_may_not(
    fleet: Fleet, signups: SignUps, forbidden: Callable[[redis.Redis], object]
) -> None:
    url = fleet.redis_url("events", "producer")
    with inside(fleet.machines.switch), redis.Redis.from_url(url) as client:
        client.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            forbidden(client)


def test_nobody_enters_redis_without_a_login(fleet: Fleet, signups: SignUps) -> None:
    for server in ("broker", "events"):
        url = fleet.redis_url(server, "operator", "not-its-password")
        # the broker is not even reached from here
        with (
            inside(fleet.machines.switch),
            redis.Redis.from_url(url, **QUICK) as client,
            pytest.raises(REFUSED),
        ):
            client.ping()


def test_a_producer_does_not_reach_the_broker(fleet: Fleet, signups: SignUps) -> None:
    # whoever can write to it may run code on workers
    address = fleet.machines.address(CONTROL)
    assert not _reachable("h4", address, 6379)
    url = fleet.redis_url("broker", "producer", fleet.secrets["events_producer"])
    with (
        inside("h2"),
        redis.Redis.from_url(url) as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()


def test_a_log_of_a_running_task_needs_a_signed_request(fleet: Fleet, signups: SignUps) -> None:
    """The one line that is not TLS: from a control host, which the firewall lets in."""
    url = f"http://{fleet.machines.address('h2')}:8793/log/"
    with inside(CONTROL), httpx.Client(trust_env=False, timeout=10) as client:
        for headers in ({}, {"Authorization": "not-a-token"}):
            answer = client.get(f"{url}dag_id=fleet_sleepers/attempt=1.log", headers=headers)
            assert answer.status_code == httpx.codes.FORBIDDEN, answer.text
    assert not _reachable("h4", fleet.machines.address("h2"), 8793)


def test_redis_and_postgres_speak_by_tls_only(fleet: Fleet, signups: SignUps) -> None:
    address = fleet.machines.address(CONTROL)
    with (
        inside("h2"),
        redis.Redis(host=address, port=6379, socket_timeout=3) as client,
        pytest.raises((redis.ConnectionError, redis.TimeoutError)),
    ):
        client.ping()
    words = "sudo sh -c \"grep -hE '^host' /etc/postgresql/*/main/pg_hba.conf\""
    rules = fleet.machines.shell(CONTROL, words)
    assert {line.split()[0] for line in rules.splitlines()} <= {"hostssl"}


@pytest.mark.parametrize(
    "path", ["/api/v2/dags", "/api/v2/connections", "/flower/", "/flower/api/workers"]
)
def test_the_web_interfaces_need_a_login(fleet: Fleet, signups: SignUps, path: str) -> None:
    address = fleet.machines.address(CONTROL)
    for place in (fleet.machines.switch, "h2"):
        with inside(place), httpx.Client(verify=str(fleet.ca_file()), trust_env=False) as client:
            answer = client.get(f"https://{address}{path}", follow_redirects=False)
        assert answer.status_code in {302, 303, 307, 401, 403, 404}, (place, answer.status_code)
        if answer.is_redirect:
            assert "login" in answer.headers["location"]


def test_flower_is_read_only(fleet: Fleet, signups: SignUps) -> None:
    address = fleet.machines.address(CONTROL)
    login = ("inspector", fleet.secrets["flower_inspector"])
    with (
        inside(fleet.machines.switch),
        httpx.Client(verify=str(fleet.ca_file()), trust_env=False, auth=login) as client,
    ):
        assert client.get(f"https://{address}/flower/workers").status_code == httpx.codes.OK
        answer = client.post(f"https://{address}/flower/api/worker/shutdown/batch@h2")
    assert answer.status_code in {401, 403, 404, 405}
    assert "batch@h2" in fleet.workers()


def test_a_task_cannot_read_the_keys_of_its_host(fleet: Fleet, signups: SignUps) -> None:
    for path in ("/etc/airlane/tls/host.key", "/etc/airlane/secrets/logs/api_secret_key"):
        words = f"sudo -u airlane-worker cat {path} >/dev/null 2>&1 && echo readable || true"
        assert fleet.machines.shell("h2", words) == "", path
    # nor put its host on duty, or take it off
    mark = "/var/lib/airlane/worker/batch/off-duty"
    words = f"sudo -u airlane-worker touch {mark} 2>/dev/null && echo done || true"
    assert fleet.machines.shell("h2", words) == ""


def test_units_are_hardened(fleet: Fleet, signups: SignUps) -> None:
    for host in (CONTROL, *CANDIDATES[:1]):
        words = "systemctl list-units --plain --no-legend 'airlane-*.service' | awk '{print $1}'"
        for unit in fleet.machines.shell(host, words).split():
            ask = f"systemd-analyze security --no-pager {unit} | tail -1"
            said = fleet.machines.shell(host, ask)
            exposure = float(said.split(": ")[1].split()[0])
            fleet.times.append((f"systemd-analyze security {host} {unit}", exposure))
            # 1.2 to 2.2 measured
            assert exposure < 2.5, said
