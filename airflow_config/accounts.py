"""Logins of Airflow (FAB auth manager): a person's, and the intake's service account.

Read from apache-airflow-providers-fab 3.10.2: `get_application_builder` is what the provider's
own `airflow users` commands use, and `appbuilder.sm` is Flask-AppBuilder's security manager.
One process does all of it, because each `airflow users create` takes ten seconds to load.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from airflow.providers.fab.www.security import permissions

#: The service account's login and role.
INTAKE_USER = "airlane_intake"
INTAKE_ROLE = "airlane_intake"
ADMIN_USER = "admin"

#: What the intake may do: create runs (which needs edit permission on the DAG with this auth
#: manager), see them, and see whether its own DAG is paused.
INTAKE_PERMISSIONS = (
    (permissions.ACTION_CAN_READ, permissions.RESOURCE_DAG),
    (permissions.ACTION_CAN_EDIT, permissions.RESOURCE_DAG),
    (permissions.ACTION_CAN_READ, permissions.RESOURCE_DAG_RUN),
    (permissions.ACTION_CAN_CREATE, permissions.RESOURCE_DAG_RUN),
)


def ensure_accounts(passwords: Mapping[str, str]) -> list[str]:
    """Make the accounts that are missing and set their passwords.

    Parameters
    ----------
    passwords
        Of `ADMIN_USER` and `INTAKE_USER`.

    Returns
    -------
    list of str
        What was changed, in words.
    """
    changed = []
    with get_application_builder() as appbuilder:
        manager = appbuilder.sm
        role = manager.find_role(INTAKE_ROLE) or manager.add_role(INTAKE_ROLE)
        for action, resource in INTAKE_PERMISSIONS:
            permission = manager.create_permission(action, resource)
            if permission not in role.permissions:
                manager.add_permission_to_role(role, permission)
        for name, role_name in ((ADMIN_USER, "Admin"), (INTAKE_USER, INTAKE_ROLE)):
            user = manager.find_user(name)
            if user is None:
                added = manager.add_user(
                    *(name, name, "airlane", f"{name}@airlane.invalid"),
                    manager.find_role(role_name),
                    passwords[name],
                )
                if not added:
                    raise RuntimeError(f"expected to add the account {name}, was refused")
                changed.append(f"account {name} made")
            else:
                manager.reset_password(user.id, passwords[name])
                changed.append(f"password of {name} set")
    return changed
