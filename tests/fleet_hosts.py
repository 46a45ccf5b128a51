"""A host of a fleet in a folder of the test's own, with its secrets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from airflow_config import queues
from airflow_config.place import ROOT
from deploy import passwords
from deploy.fleet import notes, rendering, secrets
from deploy.fleet.changes import compare, write
from deploy.fleet.host import Host
from deploy.fleet.secrets import Role
from deploy.fleet.site import load

QUEUES = (ROOT / "queues.yaml").read_text(encoding="utf-8")
FLEET = queues.read(QUEUES)


def site_text(folder: Path) -> str:
    """Return a site file whose folders are below `folder`."""
    return f"""\
address: 127.0.0.1
api: {{url: "https://airflow.example", batch_url: "https://airflow.example:8444"}}
metadata_db: {{host: db.example}}
app_db: {{host: db.example, port: 5433}}
broker: {{host: redis.example}}
events: {{host: redis.example, port: 6380, max_memory: 512MiB}}
tls: {{ca: {folder}/tls/ca.pem, cert: {folder}/tls/host.pem, key: {folder}/tls/host.key}}
logs: {{keepers: [c1.example, c2.example]}}
folders:
  state: {folder}/state
  logs: {folder}/logs
  models: {folder}/models
  redis: {folder}/redis
"""


def made(folder: Path) -> Host:
    """Make the site file, the queue model and the secrets of every role."""
    etc = folder / "etc"
    etc.mkdir()
    (etc / "site.yaml").write_text(site_text(folder))
    (etc / "queues.yaml").write_text(QUEUES)
    known = passwords.completed({})
    for role in secrets.ROLES:
        own = etc / "secrets" / role
        own.mkdir(parents=True)
        for name in secrets.NEEDS[role]:
            (own / name).write_text(known[name])
    return Host(etc, load(etc))


def note_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have parts note what they run below `folder`, and look for their units there."""
    monkeypatch.setattr(notes, "RUNTIME", folder / "run")
    monkeypatch.setattr(notes, "UNITS", folder / "units")
    (folder / "units").mkdir()


def render(host: Host, role: Role, text: str) -> None:
    """Write the files of a role for a queue model."""
    wanted = rendering.files(host, queues.read(text), role, host.secrets(role))
    write(wanted, compare(wanted, [], [], None), None)


def runs(host: Host, part: str, class_name: str | None = None, pid: int = 7) -> Path:
    """Have a part noted as one that runs; return the folder of its note."""
    folder = notes.folder(part, class_name)
    folder.mkdir(parents=True)
    found = notes.note(host, FLEET, part, class_name)
    notes.write(dataclasses.replace(found, pid=pid), folder)
    return folder
