"""Settings of the two Redis-compatible servers: Celery's broker, and the events and decisions.

Two processes, not two database numbers: who may write to the broker may run code on workers
(CVE-2026-68982), and a producer of sign-ups must not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

#: When each server flushes to disk. An event that a producer was told is in must survive a power
#: cut; what is lost of the broker is sent again.
FSYNC = {"broker": "everysec", "events": "always"}


def acl_text(logins: Mapping[str, list[str]], passwords: Mapping[str, str]) -> str:
    """Return the content of the file of logins, with hashes of the passwords only."""
    lines = ["user default off"]
    for login, rules in logins.items():
        digest = hashlib.sha256(passwords[login].encode()).hexdigest()
        # the password last: a rule `reset` would drop it
        lines.append(f"user {login} {' '.join(rules)} on #{digest}")
    return "\n".join(lines) + "\n"


def config_text(
    *,
    data: Path,
    acl_file: Path,
    port: int,
    fsync: str,
) -> str:
    """Return the content of a server's settings file.

    Parameters
    ----------
    data
        Folder of its data.
    acl_file
        File of its logins.
    port
        On loopback, the only one that it listens on.
    fsync
        `always` (an acknowledged write survives a power cut) or `everysec`.
    """
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f'dir "{data}"',
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
    return "\n".join(lines) + "\n"
