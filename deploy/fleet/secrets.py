"""Secrets of a fleet: who needs which, and the folder in which a host has its own.

`secrets/ROLE/NAME`, one file each, of mode 0640. A host gets the folders of its own roles and
nothing else, so that a worker host has no key of the control plane.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from secrets import token_urlsafe
from typing import Literal, get_args

import yaml

from deploy import passwords
from deploy.logins import BROKER_ACL, LOGINS
from intake.keys import EVENTS_ACL

Role = Literal["control", "worker", "logs", "relay", "flower", "redis-broker", "redis-events"]
ROLES: tuple[Role, ...] = get_args(Role)

#: What each role must know. PostgreSQL's own is not rendered here: its role sets passwords.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "control": (
        *("airflow", "airlane_owner", "airlane_intake"),
        *("broker_airflow", "broker_operator", "events_intake", "events_operator"),
        *("fernet_key", "jwt_secret", "api_secret_key"),
        *("airflow_admin", "airflow_intake"),
    ),
    "worker": ("airlane_worker", "broker_airflow"),
    "logs": ("api_secret_key",),
    "relay": ("airlane_relay", "events_relay"),
    "flower": ("broker_airflow", "flower_inspector", "flower_cookie"),
    "redis-broker": tuple(f"broker_{login}" for login in BROKER_ACL),
    "redis-events": tuple(f"events_{login}" for login in EVENTS_ACL),
    "postgres": ("postgres", *LOGINS),
}

#: What only the machine that runs Ansible knows: it opens the key of the certificate authority.
CONTROLLER = ("ca_passphrase",)

#: Characters that passwords may have: they stand in addresses and settings as they are.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")
#: Characters that a password has at least.
_SHORTEST = 16


class SecretsError(Exception):
    """A secret is missing or can't be used; one line for each."""


def read(folder: Path, role: Role) -> dict[str, str]:
    """Return the secrets of a role, by name.

    Parameters
    ----------
    folder
        The one with a folder for each role.
    role
        Whose.

    Raises
    ------
    SecretsError
        With every secret that is missing, cannot be read or would break an address; never with
        its value.
    """
    found: dict[str, str] = {}
    faults = []
    for name in NEEDS[role]:
        file = folder / role / name
        try:
            value = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"expected the secret {file}, found: {_reason(error)}")
            continue
        if fault := _fault(value):
            faults.append(f"{file}: {fault}")
        found[name] = value
    if faults:
        raise SecretsError(
            "\n".join(faults) + "\nFix: airlane secrets init, encrypt what it writes with "
            "ansible-vault, and run site.yml; it brings them here"
        )
    return found


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return getattr(error, "strerror", None) or "no text"


def _fault(value: str) -> str | None:
    if len(value) < _SHORTEST:
        return f"expected at least {_SHORTEST} characters, found {len(value)}"
    if not _PLAIN.issuperset(value):
        return "expected letters, digits, - and _ only, found others"
    return None


def as_yaml(known: Mapping[str, str]) -> str:
    """Return all secrets of a fleet for Ansible, made anew but for those that are known.

    One mapping, `airlane_secrets`, from which the playbooks give each host what `NEEDS` says.
    """
    made = {name: token_urlsafe(24) for name in CONTROLLER}
    everything = {**made, **passwords.completed(known)}
    text = yaml.safe_dump({"airlane_secrets": everything}, sort_keys=True)
    return (
        "# Made by `airlane secrets init`. Encrypt it: ansible-vault encrypt FILE\n"
        "# A new value takes effect by rotate-secrets.yml. fernet_key opens what the database\n"
        "# holds: with another one, connections and variables of Airflow are lost.\n" + text
    )


def unknown(names: Iterable[str]) -> list[str]:
    """Return the names that are no secret of ours."""
    return sorted(set(names) - {*passwords.NAMES, *CONTROLLER})


def names() -> list[str]:
    """Return the names of all secrets of a fleet."""
    return sorted({*passwords.NAMES, *CONTROLLER})
