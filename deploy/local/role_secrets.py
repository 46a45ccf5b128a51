"""What each role of an instance may know: one file each, in the folder that its parts are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.files import write_private
from deploy.logins import DATABASES, SERVICE_ACCOUNT

if TYPE_CHECKING:
    from deploy.local.instance import Instance


def write(instance: Instance) -> None:
    """Write them all, and `pgpass` for a person's `psql`, from the instance's keys and ports."""
    for role, content in _contents(instance).items():
        folder = instance.secrets_folder(role)
        folder.mkdir(exist_ok=True, mode=0o700)
        for name, value in content.items():
            write_private(folder / name, value)
    where = f"127.0.0.1:{instance.port('postgres')}"
    lines = [f"{where}:{name}:{owner}:{instance.keys[owner]}" for name, owner in DATABASES.items()]
    write_private(instance.folder / "secrets" / "pgpass", "\n".join(lines) + "\n")


def _contents(instance: Instance) -> dict[str, dict[str, str]]:
    """Return role -> name of the setting -> its value."""
    api = {
        "api_url": instance.api_url,
        "api_user": SERVICE_ACCOUNT,
        "api_password": instance.keys["airflow_intake"],
    }
    return {
        "worker": {"app_db_url": instance.app_db_url("airlane_worker")},
        "relay": {
            "app_db_url": instance.app_db_url("airlane_relay"),
            "events_url": instance.events_url("relay"),
        },
        "intake": {
            "app_db_url": instance.app_db_url("airlane_intake"),
            "events_url": instance.events_url("intake"),
            **api,
        },
        "operator": {
            "app_db_url": instance.app_db_url("airlane_owner"),
            "events_url": instance.events_url("operator"),
            **api,
        },
    }
