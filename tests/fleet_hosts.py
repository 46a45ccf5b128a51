"""A host of a fleet in a folder of the test's own, with its secrets."""

from __future__ import annotations

from pathlib import Path

from airflow_config.place import ROOT
from deploy import passwords
from deploy.fleet import secrets
from deploy.fleet.host import Host
from deploy.fleet.site import load

QUEUES = (ROOT / "queues.yaml").read_text(encoding="utf-8")


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
