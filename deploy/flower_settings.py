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
    found = settings(port=port, password=password, cookie=cookie, path=path)
    lines = [f"{name} = {value!r}" for name, value in found.items()]
    return "# Written by airlane at each start.\n" + "\n".join(lines) + "\n"


def settings(*, port: int, password: str, cookie: str, path: str = "") -> dict[str, object]:
    """Return Flower's settings by name; see `text`."""
    found: dict[str, object] = {
        "address": "127.0.0.1",
        "port": port,
        "basic_auth": [f"{USER}:{password}"],
        "cookie_secret": cookie,
        "read_only": True,
        "max_tasks": MAX_TASKS,
        "purge_offline_workers": 3600,
        "tasks_columns": "name,args,routing_key,state,worker,received,runtime",
    }
    if path:
        found["url_prefix"] = path
    return found
