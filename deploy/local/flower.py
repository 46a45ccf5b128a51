"""Flower's settings: one login for inspectors, read-only, bounded memory."""

from __future__ import annotations

from pathlib import Path

from deploy.local.instance import Instance, write_private

#: The login of people who inspect queues.
USER = "inspector"
#: Tasks that Flower keeps in memory; its default of 100,000 costs hundreds of MiB.
MAX_TASKS = 5_000


def write_config(instance: Instance) -> Path:
    """Write Flower's settings file and return its path."""
    path = instance.run / "flower.py"
    settings = {
        "address": "127.0.0.1",
        "port": instance.port("flower"),
        "basic_auth": [f"{USER}:{instance.keys['flower_inspector']}"],
        "cookie_secret": instance.keys["flower_cookie"],
        "read_only": True,
        "max_tasks": MAX_TASKS,
        "purge_offline_workers": 3600,
        "tasks_columns": "name,args,state,received,started,runtime,worker,routing_key",
    }
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    write_private(path, "# Written by airlane at each start.\n" + "\n".join(lines) + "\n")
    return path
