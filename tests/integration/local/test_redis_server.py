"""Settings and logins of both servers, on the wheel's Valkey and on an installed redis-server."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import redis

from deploy.local import valkey
from deploy.local.ports import free_port
from deploy.logins import BROKER_ACL
from intake.keys import EVENTS_ACL
from tests.servers import serving

#: Another server to try: 7.0, which Debian 12 has, is the oldest that knows the rules.
OTHER = os.environ.get("AIRLANE_TEST_REDIS_SERVER") or shutil.which("redis-server")


@pytest.fixture(params=["valkey", "redis"])
def binary(request: pytest.FixtureRequest) -> Path:
    if request.param == "valkey":
        return valkey.binary()
    if OTHER is None:
        pytest.skip("no redis-server is installed, and AIRLANE_TEST_REDIS_SERVER names none")
    return Path(OTHER)


@pytest.mark.parametrize("logins", [BROKER_ACL, EVENTS_ACL], ids=["broker", "events"])
def test_a_server_takes_our_settings_and_rules(
    binary: Path, logins: dict[str, list[str]], tmp_path: Path
) -> None:
    folder = tmp_path / "a folder, 100%"
    port = free_port()
    passwords = {login: f"of-{login}" for login in logins}
    config = valkey.write_config(folder, port, logins=logins, passwords=passwords, fsync="always")
    operator = valkey.url(port, "operator", passwords["operator"])
    with serving([str(binary), str(config)], tmp_path / "log", lambda: valkey.answers(operator)):
        for login, password in passwords.items():
            with redis.Redis.from_url(valkey.url(port, login, password)) as client:
                assert client.ping()
    assert list((folder / "appendonlydir").iterdir())


def test_no_rule_is_newer_than_redis_7_0() -> None:
    newer = {"client|setinfo", "client|no-touch", "waitaof", "client|capa", "hexpire"}
    rules = [rule for acl in (BROKER_ACL, EVENTS_ACL) for words in acl.values() for rule in words]
    assert not newer & {rule.lstrip("+-") for rule in rules}, "a 7.0 server would not start"
