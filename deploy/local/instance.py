"""An instance: one folder with data, logs, keys, generated settings and ports.

airflow/    generated Airflow settings, one file per role (0600)
broker/ events/ postgres/   the servers' data
logs/       one file per part; logs/tasks/ holds the task logs
models/     a copy of the risk models, which the database app holds
run/        the supervisor's settings, socket and process id; what each part was started with
secrets/    passwords and keys, and per role what it may know (0600)
instance.json   ports, the site file's content at the start, what was done to the databases
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from airflow_config import queues
from airflow_config.place import ROOT, Place, home, queues_file
from airflow_config.queues import Fleet
from deploy import passwords
from deploy.files import write_private
from deploy.local import postgres, role_secrets, valkey
from deploy.local.ports import free_port, is_free
from deploy.local.site import PORT_NAMES, PortName, Site
from deploy.local.site import kept as kept_site
from deploy.local.site import load as load_site

#: New keys would not open what the old ones closed: the databases know the old passwords.
_KEYS_LOST = "restore it from a backup, or delete the instance with all its data: airlane reset"

#: What the servers' and the supervisor's settings files can't hold in a path: quotes, control
#: characters, and what they take for the start of a comment.
_UNWRITABLE = re.compile(r"""["'\\\x00-\x1f]|\s[#;]""")


class InstanceError(Exception):
    """An instance can't be made or used as it is; the text says why and what to do."""


@dataclass(frozen=True)
class Instance:
    """One instance and what is particular to it.

    Parameters
    ----------
    folder
        `AIRLANE_HOME`.
    site
        The site file's content.
    """

    folder: Path
    site: Site

    @property
    def exists(self) -> bool:
        """Whether it was ever started."""
        return self.state_file.exists()

    @property
    def state_file(self) -> Path:
        """Where facts about it are kept."""
        return self.folder / "instance.json"

    @property
    def airflow_home(self) -> Path:
        """Folder of the generated Airflow settings."""
        return self.folder / "airflow"

    @property
    def logs(self) -> Path:
        """Folder of the parts' logs."""
        return self.folder / "logs"

    @property
    def models(self) -> Path:
        """Folder of the copy of the risk models."""
        return self.site.models or self.folder / "models"

    @property
    def run(self) -> Path:
        """Folder of the supervisor's files."""
        return self.folder / "run"

    @property
    def started_queues(self) -> Path:
        """The queue model that the stack was last started with; queues.yaml may have changed."""
        return self.run / "queues.yaml"

    def airflow_config(self, role: str) -> Path:
        """Return the path of a role's airflow.cfg."""
        return self.airflow_home / f"{role}.cfg"

    def secrets_folder(self, role: str) -> Path:
        """Return the folder of what a role may know (`AIRLANE_SECRETS` of its parts)."""
        return self.folder / "secrets" / role

    def create(self) -> None:
        """Make the folders, the keys and the ports that are missing."""
        servers = (self.site.broker.server, self.site.events.server)
        given = [path for path in (*servers, self.site.dags) if path]
        _check_paths(self.folder, self.models, ROOT, queues_file(), Path(sys.executable), *given)
        # here, not where the site file is read: a folder that is gone must not hinder a stop
        if self.site.dags and not self.site.dags.is_dir():
            raise InstanceError(
                f"expected a folder of DAG files, found none at {self.site.dags}. Fix: dags in the "
                "site file"
            )
        for path in (self.folder, self.logs, self.run, self.folder / "secrets", self.airflow_home):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.models.mkdir(parents=True, exist_ok=True)
        (self.logs / "tasks").mkdir(exist_ok=True)
        # the ports last but one: with them the instance exists, and others may ask for its keys
        self._make_keys()
        self._choose_ports()
        role_secrets.write(self)

    def _choose_ports(self) -> None:
        state = self.state()
        kept: dict[str, int] = state.get("ports", {})
        ports: dict[str, int] = {}
        for name in PORT_NAMES:
            wanted = self.site.ports.get(name)
            if wanted is not None and not is_free(wanted):
                raise InstanceError(
                    f"expected port {wanted} of 127.0.0.1 to be free for {name} (site file, "
                    f"ports.{name}), found another program there. Fix: stop it, or name another."
                )
            port = wanted or kept.get(name)
            taken = {*ports.values(), *self.site.ports.values()} - {wanted}
            if port is None or port in taken or not is_free(port):
                port = free_port(besides={*taken, *kept.values()})
            ports[name] = port
        self.update_state(ports=ports)

    def state(self) -> dict[str, Any]:
        """Return what `instance.json` holds; empty before the first start."""
        if not self.state_file.exists():
            return {}
        return _read_json(
            self.state_file,
            "airlane down, delete that file, airlane up: new ports are chosen, nothing is lost",
        )

    def update_state(self, **changes: Any) -> None:
        """Keep facts about the instance in `instance.json`."""
        write_private(self.state_file, json.dumps({**self.state(), **changes}, indent=2) + "\n")

    def port(self, name: PortName) -> int:
        """Return a part's port."""
        try:
            return int(self.state()["ports"][name])
        except (KeyError, TypeError, ValueError):
            raise InstanceError(
                f"expected a port of {name} in {self.state_file}, found none. "
                "Fix: airlane down, airlane up"
            ) from None

    @property
    def _keys_file(self) -> Path:
        return self.folder / "secrets" / "keys.json"

    def _make_keys(self) -> None:
        if self._keys_file.exists():
            keys = _read_json(self._keys_file, _KEYS_LOST)
        elif self.exists:
            raise InstanceError(f"expected {self._keys_file}, found none. Fix: {_KEYS_LOST}")
        else:
            keys = {}
        write_private(self._keys_file, json.dumps(passwords.completed(keys), indent=2) + "\n")

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """Passwords and keys by name."""
        return _read_json(self._keys_file, _KEYS_LOST)

    def app_db_url(self, login: str) -> str:
        """Return the address of the database `app` for a login."""
        return postgres.url(self.port("postgres"), "app", login, self.keys[login])

    def broker_url(self, login: str = "airflow") -> str:
        """Return the broker's address for a login."""
        if self.site.broker.url:
            return self.site.broker.url
        return valkey.url(self.port("broker"), login, self.keys[f"broker_{login}"])

    def events_url(self, login: str) -> str:
        """Return the address of the events server for a login."""
        if self.site.events.url:
            return self.site.events.url
        return valkey.url(self.port("events"), login, self.keys[f"events_{login}"])

    @property
    def api_url(self) -> str:
        """The API server's address, which is Airflow's UI too."""
        return f"http://127.0.0.1:{self.port('api_server')}"

    @property
    def batch_api_url(self) -> str | None:
        """Address of the execution API for tasks of the default queue, if there is one."""
        if "batch_api" not in self.state().get("ports", {}):
            return None
        return f"http://127.0.0.1:{self.port('batch_api')}"

    @property
    def flower_url(self) -> str:
        """Flower's address."""
        return f"http://127.0.0.1:{self.port('flower')}"

    def place(self) -> Place:
        """Return what Airflow's settings depend on."""
        database = postgres.url(self.port("postgres"), "airflow", "airflow", self.keys["airflow"])
        return Place(
            home=self.folder,
            root=ROOT,
            queues_file=queues_file(),
            airflow_home=self.airflow_home,
            logs=self.logs / "tasks",
            airflow_db_url=database,
            broker_url=self.broker_url(),
            result_url=self.broker_url(),
            api_url=self.api_url,
            api_port=self.port("api_server"),
            fernet_key=self.keys["fernet_key"],
            jwt_secret=self.keys["jwt_secret"],
            api_secret_key=self.keys["api_secret_key"],
        )

    def environment(self, part: str, role: str, secrets: str | None = None) -> dict[str, str]:
        """Return the variables that tell a part who it is and where its settings lie.

        Parameters
        ----------
        part
            Its name; with `AIRLANE_HOME` it marks the part's processes.
        role
            `control` or `worker`: which airflow.cfg it reads.
        secrets
            The role whose secrets it may read; none by default.
        """
        found = {
            "AIRLANE_HOME": str(self.folder),
            "AIRLANE_PART": part,
            # What the stack was started with: a file that is being edited must not fail tasks.
            "AIRLANE_QUEUES": str(self.started_queues),
            "AIRFLOW_HOME": str(self.airflow_home),
            "AIRFLOW_CONFIG": str(self.airflow_config(role)),
            # A process title must not overwrite the environment in /proc: the marker is there.
            "SPT_NOENV": "1",
            "AIRLANE_MODELS": str(self.models),
            **self.site.intake.environment(),
        }
        if self.site.dags:
            # Airflow's own variable: it wins over the settings, in every part and in `airlane env`
            found["AIRFLOW__CORE__DAGS_FOLDER"] = str(self.site.dags)
        if secrets:
            found["AIRLANE_SECRETS"] = str(self.secrets_folder(secrets))
        return found


def _check_paths(*paths: Path) -> None:
    for path in paths:
        if found := _UNWRITABLE.search(str(path)):
            raise InstanceError(
                f"expected a path without quotes, backslashes, line breaks, and # or ; behind a "
                f"space, found {found[0]!r} in {str(path)!r}: settings files can't hold it. Fix: "
                "another folder, by AIRLANE_HOME, in the site file or for the checkout"
            )


def _read_json(path: Path, fix: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise InstanceError(f"expected {path}, found none. Fix: {fix}") from None
    except ValueError as error:
        raise InstanceError(f"expected JSON in {path}, found: {error}. Fix: {fix}") from None
    if not isinstance(content, dict):
        raise InstanceError(
            f"expected a JSON object in {path}, found {type(content).__name__}. Fix: {fix}"
        )
    return content


def current() -> Instance:
    """Return the instance that `AIRLANE_HOME` and the site file name."""
    return Instance(home(), load_site())


def started() -> Instance:
    """Return the instance with the site file's content that it was last started with.

    A site file that was changed or broken since then must hinder nobody from looking at the stack
    or stopping it.
    """
    folder = home()
    try:
        noted = Instance(folder, Site()).state().get("site")
        site = None if noted is None else kept_site(noted)
    except (InstanceError, ValidationError):
        site = None
    return Instance(folder, load_site() if site is None else site)


def started_fleet(instance: Instance) -> Fleet:
    """Return the queue model that the stack was last started with: that is what runs.

    A queues.yaml that was changed or broken since then must hinder nobody from looking at the
    stack or stopping it.
    """
    copy = instance.started_queues
    return queues.load(copy if copy.exists() else None)


def existing() -> Instance:
    """Return the instance, which must have been started before.

    Raises
    ------
    InstanceError
        When there is none.
    """
    instance = started()
    if not instance.exists:
        raise InstanceError(
            f"expected an instance in {instance.folder}, found none. Fix: airlane up, or set "
            "AIRLANE_HOME to the one you mean; a host of a fleet has none: airlane status, "
            "journalctl"
        )
    return instance
