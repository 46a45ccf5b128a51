"""One host of a fleet: its folders, and what a role on it must know.

/etc/airlane/             site.yaml, queues.yaml, tls/, secrets/ROLE/NAME: brought by Ansible
/var/lib/airlane/ROLE/    what `airlane fleet render ROLE` makes of them
/var/lib/airlane/models/  this host's copy of the risk models, which the database app holds
/var/log/airlane/tasks/   task logs; outbox/KEEPER/ beside it: those that are to be shipped
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from airflow_config import settings
from airflow_config.place import ROOT, Place, Spread
from deploy.fleet import addresses, secrets
from deploy.fleet.secrets import Role
from deploy.fleet.site import FOLDER, VARIABLE, Site
from deploy.fleet.site import load as load_site

#: What the roles that read airflow.cfg read: Flower needs no more than a worker does.
AIRFLOW_ROLES: Mapping[Role, settings.Role] = {
    "control": "control",
    "worker": "worker",
    "flower": "worker",
    "logs": "logs",
}

#: In the place of a key that a role has no right to know: its settings do not hold it.
_UNKNOWN = ""


@dataclass(frozen=True)
class Host:
    """A host.

    Parameters
    ----------
    folder
        Where its site file, queues.yaml and secrets are.
    site
        The site file's content.
    """

    folder: Path
    site: Site

    @property
    def queues_file(self) -> Path:
        """The queue model as it was brought; parts read the copy in their role's folder."""
        return self.folder / "queues.yaml"

    @property
    def task_logs(self) -> Path:
        """Folder of the task logs."""
        return self.site.folders.logs / "tasks"

    @property
    def outbox(self) -> Path:
        """Folder with a folder for each keeper of logs."""
        return self.site.folders.logs / "outbox"

    def state(self, role: Role) -> Path:
        """Return the folder of what is rendered for a role."""
        return self.site.folders.state / role

    def started_queues(self, role: Role) -> Path:
        """Return the copy of the queue model that a role's parts read."""
        return self.state(role) / "queues.yaml"

    def airflow_home(self, role: Role) -> Path:
        """Return the folder of a role's Airflow settings."""
        return self.state(role) / "airflow"

    def airflow_config(self, role: Role) -> Path:
        """Return the path of a role's airflow.cfg."""
        return self.airflow_home(role) / "airflow.cfg"

    def redis_data(self, role: Role) -> Path:
        """Return the folder in which a Redis server keeps its data."""
        return self.site.folders.redis / f"airlane-{role.removeprefix('redis-')}"

    def secrets(self, role: Role) -> dict[str, str]:
        """Return the secrets of a role by name; see `deploy.fleet.secrets.read`."""
        return secrets.read(self.folder / "secrets", role)

    def former_secrets(self, role: Role) -> dict[str, str]:
        """Return what a role's secrets were, by name, while rotate-secrets.yml changes them."""
        folder = self.folder / "former-secrets" / role
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        return {file.name: file.read_text(encoding="utf-8").strip() for file in files}

    def place(self, role: Role, known: Mapping[str, str]) -> Place:
        """Return what Airflow's settings of a role depend on.

        Parameters
        ----------
        role
            One of `AIRFLOW_ROLES`.
        known
            Its secrets. What it has no right to is empty, and its settings do not hold it.
        """
        site, ca = self.site, self.site.tls.ca
        broker = ""
        if "broker_airflow" in known:
            broker = addresses.redis(site.broker, "airflow", known["broker_airflow"], ca)
        metadata = asynchronous = ""
        if password := known.get("airflow"):
            login = (site.metadata_db, "airflow", "airflow", password)
            metadata = addresses.postgres(*login, ca)
            asynchronous = addresses.postgres_async(*login)
        return Place(
            home=site.folders.state,
            # The release that renders, by the name that stays: settings need not change with it.
            root=_current(ROOT),
            queues_file=self.started_queues(role),
            airflow_home=self.airflow_home(role),
            logs=self.task_logs,
            airflow_db_url=metadata,
            broker_url=broker,
            result_url=broker,
            api_url=site.api.url,
            api_port=site.api.port,
            fernet_key=known.get("fernet_key", _UNKNOWN),
            jwt_secret=known.get("jwt_secret", _UNKNOWN),
            api_secret_key=known.get("api_secret_key", _UNKNOWN),
            spread=Spread(ca_file=ca, airflow_db_async_url=asynchronous, log_port=site.logs.port),
        )

    def app_db_url(self, login: str, password: str) -> str:
        """Return the address of the database `app` for a login."""
        return addresses.postgres(self.site.app_db, "app", login, password, self.site.tls.ca)

    def events_url(self, login: str, password: str) -> str:
        """Return the address of the events server for a login."""
        return addresses.redis(self.site.events, login, password, self.site.tls.ca)

    def broker_url(self, login: str, password: str) -> str:
        """Return the address of the broker for a login."""
        return addresses.redis(self.site.broker, login, password, self.site.tls.ca)


@cache
def _current(root: Path) -> Path:
    """Return a release's folder by the link `current`, where that leads to it.

    `releases/1.2.0` -> `current`: an upgrade alone must not change what is rendered.
    """
    link = root.parent.parent / "current"
    return link if link.exists() and link.resolve() == root else root


def here() -> Host:
    """Return this host, by the folder that `AIRLANE_FLEET` names."""
    folder = Path(os.environ.get(VARIABLE) or FOLDER)
    return Host(folder, load_site(folder))


def is_one() -> bool:
    """Tell whether this machine is a host of a fleet."""
    return (Path(os.environ.get(VARIABLE) or FOLDER) / "site.yaml").exists()
