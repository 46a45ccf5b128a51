"""Flower's settings: one login for inspectors, read-only, bounded memory."""

from __future__ import annotations

#: The login of people who inspect queues.
USER = "inspector"
#: Tasks that Flower keeps in memory; its default of 100,000 costs hundreds of MiB.
MAX_TASKS = 5_000


def text(*, port: int, password: str, cookie: str, path: str = "") -> str:
    """Return the content of Flower's settings file.

    Parameters
    ----------
    port
        On loopback: a proxy stands before it wherever others may reach it.
    password
        Of `USER`.
    cookie
        The key that signs its cookies.
    path
        Below which a proxy shows it, such as `flower`.
    """
    settings: dict[str, object] = {
        "address": "127.0.0.1",
        "port": port,
        "basic_auth": [f"{USER}:{password}"],
        "cookie_secret": cookie,
        "read_only": True,
        "max_tasks": MAX_TASKS,
        "purge_offline_workers": 3600,
        "tasks_columns": "name,args,state,received,started,runtime,worker,routing_key",
    }
    if path:
        settings["url_prefix"] = path
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    return "# Written by airlane at each start.\n" + "\n".join(lines) + "\n"
