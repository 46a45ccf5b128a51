"""What must hold between the entries of queues.yaml, beyond the shape of each one.

The rules look at the plain values, so that one wrong entry does not hide what is wrong with
another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_config.problems import Problems, expected_one_of

#: Fits a Redis key, a pool, a systemd unit and an Ansible group alike.
NAME = re.compile(r"^[a-z][a-z0-9_]*$")

#: Names that mean something else to a tool that we use them with.
RESERVED = {
    "queues": {
        "default_pool": "is Airflow's own pool",
        **dict.fromkeys(("unacked", "unacked_index", "unacked_mutex"), "is Celery's own Redis key"),
    },
    "workers": dict.fromkeys(("all", "ungrouped", "localhost"), "Ansible keeps for itself"),
}

Entries = Mapping[str, Any]


def check_rules(problems: Problems, queues: Entries, workers: Entries) -> None:
    """Add a problem for each rule that the queues and worker classes break."""
    _names(problems, "queues", queues)
    _names(problems, "workers", workers)
    queues = {name: entry if isinstance(entry, dict) else {} for name, entry in queues.items()}
    workers = {name: entry if isinstance(entry, dict) else {} for name, entry in workers.items()}
    _priorities(problems, queues)
    _default(problems, queues)
    _homes(problems, queues, workers)
    for name, worker in workers.items():
        _lending(problems, queues, name, worker)


def _names(problems: Problems, section: str, names: Entries) -> None:
    for name in names:
        if not NAME.fullmatch(name):
            message = f"expected a name that matches {NAME.pattern}, found {name!r}"
            problems.add((section, name), message)
        elif reason := RESERVED[section].get(name):
            message = f"expected a name of its own, found {name!r}, which {reason}"
            problems.add((section, name), message)


def _priorities(problems: Problems, queues: Entries) -> None:
    # Equal bands would let one queue's author outbid the other's.
    taken: dict[Any, str] = {}
    for name, queue in queues.items():
        priority = queue.get("priority")
        if not isinstance(priority, int):
            continue
        other = taken.setdefault(priority, name)
        if other != name:
            problems.add(
                ("queues", name, "priority"),
                f"expected a priority of its own, found {priority} as in queues.{other}",
            )


def _default(problems: Problems, queues: Entries) -> None:
    defaults = [name for name, queue in queues.items() if queue.get("default") is True]
    if not defaults:
        problems.add(("queues",), "expected one queue with default: true, found none")
        return
    for name in defaults[1:]:
        problems.add(
            ("queues", name, "default"),
            f"expected one queue with default: true, found a second after queues.{defaults[0]}",
        )
    allowed = queues[defaults[0]].get("allowed_dags", ["*"])
    if isinstance(allowed, list) and "*" not in allowed:
        problems.add(
            ("queues", defaults[0], "allowed_dags"),
            f'expected ["*"], because any task may name no queue, found {allowed}',
        )


def _homes(problems: Problems, queues: Entries, workers: Entries) -> None:
    homes = [worker.get("home") for worker in workers.values()]
    for name, worker in workers.items():
        home = worker.get("home")
        if isinstance(home, str) and home not in queues:
            problems.add(("workers", name, "home"), expected_one_of(queues, home))
    for name in queues:
        if name not in homes:
            problems.add(
                ("queues", name),
                f"expected a worker class with home: {name}, found none; "
                "lent workers alone may all be busy for hours",
            )


def _lending(problems: Problems, queues: Entries, name: str, worker: Mapping[str, Any]) -> None:
    home, lends_to = worker.get("home"), worker.get("lends_to")
    if not isinstance(lends_to, list):
        return
    floor = queues.get(home, {}).get("priority") if isinstance(home, str) else None
    for index, queue in enumerate(lends_to):
        place = ("workers", name, "lends_to", index)
        if not isinstance(queue, str):
            continue
        if queue not in queues:
            problems.add(place, expected_one_of(queues, queue))
            continue
        priority = queues[queue].get("priority")
        if queue == home:
            problems.add(place, f"expected queues other than its home, found {queue!r}")
        elif queue in lends_to[:index]:
            problems.add(place, f"expected each queue once, found {queue!r} again")
        elif isinstance(floor, int) and isinstance(priority, int) and priority < floor:
            problems.add(
                place,
                f"expected queues of a higher priority than {home!r} ({floor}), "
                f"found {queue!r} ({priority}); workers never lend downward",
            )
