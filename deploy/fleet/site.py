"""The site file of a fleet's host: `/etc/airlane/site.yaml`, the same on all but for `address`.

    address: w3.example                  # of this host, by which the others reach it
    api: {url: https://airflow.example, batch_url: https://airflow.example:8444}
    metadata_db: {host: db.example}      # of PostgreSQL, always by TLS
    app_db: {host: db.example}
    broker: {host: redis.example}        # of Redis, always by TLS
    events: {host: redis.example, port: 6380}
    tls: {cert: /etc/airlane/tls/host.pem}  # and ca, key; these are where they are by default
    logs: {keepers: [control.example]}   # hosts to which logs of finished tasks are shipped
    intake: {stream_days: 7, requests: 16, active_runs: 200}

It names no login and no password: those are in the secrets folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from airflow_config.sizes import Size
from deploy.site_file import Intake, Model, Port, expect_absolute, read, wrong

#: A name or an address; goes into other addresses and onto command lines.
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$")]

#: Names the folder of the site file, queues.yaml and the secrets.
VARIABLE = "AIRLANE_FLEET"
#: Where it is by default.
FOLDER = Path("/etc/airlane")


class Api(Model):
    """Airflow's API server.

    Parameters
    ----------
    url, batch_url
        Where tasks and people reach it, and where tasks of the default queue do, if elsewhere:
        https addresses of the proxy before it, without a slash at the end.
    port, batch_port
        On loopback of the hosts where the two run.
    """

    url: str
    batch_url: str | None = None
    port: Port = 8080
    batch_port: Port = 8081

    @model_validator(mode="after")
    def _addresses(self) -> Api:
        for key, url in (("url", self.url), ("batch_url", self.batch_url)):
            if url is not None and not _is_https(url):
                # without the address: it may hold a password
                raise wrong(
                    f"expected an address like https://airflow.example as {key}, with neither "
                    "login nor path"
                )
        if self.port == self.batch_port:
            raise wrong(f"expected ports that differ, found {self.port} as port and batch_port")
        return self


def _is_https(url: str) -> bool:
    try:
        found = urlsplit(url)
        whole = found.port != 0 and bool(found.hostname)
    except ValueError:  # a port that is no number
        return False
    # a path would become part of cookies and of what Airflow mounts
    return whole and found.scheme == "https" and found.path == "" and "@" not in found.netloc


class Database(Model):
    """A PostgreSQL server."""

    host: HostName
    port: Port = 5432


class Redis(Model):
    """A Redis-compatible server; `max_memory` bounds the data of the one on this host."""

    host: HostName
    port: Port = 6379
    max_memory: Size | None = None


class Flower(Model):
    """Flower: its port on loopback, and the path below which the proxy shows it."""

    port: Port = 5555
    path: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_-]*)?$")] = "flower"


class Tls(Model):
    """The fleet's certificate authority, and the certificate and key of this host."""

    ca: Path = FOLDER / "tls" / "ca.pem"
    cert: Path = FOLDER / "tls" / "host.pem"
    key: Path = FOLDER / "tls" / "host.key"


class Logs(Model):
    """Task logs.

    Parameters
    ----------
    port
        Where each worker host serves those of running tasks.
    keepers
        Hosts to which those of finished tasks are shipped: those with an API server.
    user, key, known_hosts
        How they are shipped there (ssh).
    """

    port: Port = 8793
    keepers: tuple[HostName, ...] = ()
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")] = "airlane-logs"
    key: Path = FOLDER / "tls" / "logs_ssh_key"
    known_hosts: Path = FOLDER / "tls" / "known_hosts"


class Folders(Model):
    """Where things lie on this host."""

    state: Path = Path("/var/lib/airlane")
    logs: Path = Path("/var/log/airlane")
    models: Path = Path("/var/lib/airlane/models")
    redis: Path = Path("/var/lib/redis")


class Site(Model):
    """The whole site file."""

    #: Given by the reader, for messages; not a key of the file.
    name: str = "site"
    address: HostName
    api: Api
    metadata_db: Database
    app_db: Database
    broker: Redis
    events: Redis
    flower: Flower = Flower()
    tls: Tls = Tls()
    logs: Logs = Logs()
    folders: Folders = Folders()
    intake: Intake = Intake()

    @model_validator(mode="after")
    def _two_servers(self) -> Site:
        # Whoever may write to the broker may run code on workers: producers must not reach it.
        if (self.broker.host, self.broker.port) == (self.events.host, self.events.port):
            raise wrong(
                "expected two servers as broker and events, found "
                f"{self.broker.host}:{self.broker.port} for both"
            )
        return self

    @model_validator(mode="after")
    def _absolute_paths(self) -> Site:
        for section in (self.tls, self.folders):
            for key, path in section:
                expect_absolute(key, path)
        return self


def load(folder: Path) -> Site:
    """Read the site file in a folder.

    Raises
    ------
    deploy.site_file.SiteError
        With every fault at once, each with file and line.
    """
    return read(folder / "site.yaml", Site, named_by=VARIABLE)
