"""The passwords and keys of an installation: their names, and how they are made."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from cryptography.fernet import Fernet

from deploy.logins import BROKER_ACL, LOGINS
from intake.keys import EVENTS_ACL

#: Airflow wants this one in a form of its own.
FERNET = "fernet_key"

#: Every name; what is missing is made.
NAMES = (
    "postgres",
    *LOGINS,
    *(f"broker_{login}" for login in BROKER_ACL),
    *(f"events_{login}" for login in EVENTS_ACL),
    *("jwt_secret", "api_secret_key", "flower_cookie"),
    # logins of people and of the intake's service account
    *("airflow_admin", "airflow_intake", "flower_inspector"),
    FERNET,
)


def completed(known: Mapping[str, str]) -> dict[str, str]:
    """Return what is known, and a new password or key for each name that is not."""
    # They stand in addresses: token_urlsafe needs no quoting there. Airflow signs tokens with
    # SHA-512, whose keys have 64 characters at least.
    sizes = {name: 48 if name == "jwt_secret" else 24 for name in NAMES if name != FERNET}
    made = {name: secrets.token_urlsafe(size) for name, size in sizes.items()}
    made[FERNET] = Fernet.generate_key().decode()
    return {**made, **known}
