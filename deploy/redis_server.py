"""Settings of the two Redis-compatible servers: Celery's broker, and the events and decisions.

Two processes, not two database numbers: who may write to the broker may run code on workers
(CVE-2026-68982), and a producer of sign-ups must not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: When each server flushes to disk. An event that a producer was told is in must survive a power
#: cut; what is lost of the broker is sent again.
FSYNC = {"broker": "everysec", "events": "always"}


@dataclass(frozen=True)
class Tls:
    """A server's certificate and key, and the authority that signed them."""

    ca: Path
    cert: Path
    key: Path


def acl_text(
    logins: Mapping[str, list[str]],
    passwords: Mapping[str, str],
    former: Mapping[str, str] | None = None,
) -> str:
    """Return the content of the file of logins, with hashes of the passwords only.

    Parameters
    ----------
    logins
        Login -> its rules.
    passwords
        Login -> its password.
    former
        Login -> a password that is taken as well, while passwords are changed.
    """
    lines = ["user default off"]
    for login, rules in logins.items():
        taken = dict.fromkeys([passwords[login], (former or {}).get(login, passwords[login])])
        digests = [f"#{hashlib.sha256(password.encode()).hexdigest()}" for password in taken]
        # the passwords last: a rule `reset` would drop them
        lines.append(f"user {login} {' '.join(rules)} on {' '.join(digests)}")
    return "\n".join(lines) + "\n"


def config_text(
    *,
    data: Path,
    acl_file: Path,
    port: int,
    fsync: str,
    bind: str = "127.0.0.1",
    tls: Tls | None = None,
    max_memory: int | None = None,
) -> str:
    """Return the content of a server's settings file.

    Parameters
    ----------
    data
        Folder of its data.
    acl_file
        File of its logins.
    port
        The only one that it listens on; with `tls` for that alone.
    fsync
        `always` (an acknowledged write survives a power cut) or `everysec`.
    bind
        Addresses that it listens on, with a space between.
    tls
        Its certificate; None to speak plainly.
    max_memory
        Bytes of data beyond which it refuses to take more; None for no bound.
    """
    lines = [
        f"bind {bind}",
        f"port {0 if tls else port}",
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
    if max_memory is not None:
        lines.append(f"maxmemory {max_memory}")
    if tls:
        lines += [
            f"tls-port {port}",
            f'tls-cert-file "{tls.cert}"',
            f'tls-key-file "{tls.key}"',
            f'tls-ca-cert-file "{tls.ca}"',
            # Clients show who they are by login; certificates of their own would have to be
            # handed to producers too.
            "tls-auth-clients no",
        ]
    return "\n".join(lines) + "\n"
