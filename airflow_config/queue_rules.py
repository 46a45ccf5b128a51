"""What must hold between the entries of queues.yaml, beyond the shape of each one.

The rules look at the plain values, so that one wrong entry does not hide what is wrong with
another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from airflow_config.durations import format_duration, parse_duration
from airflow_config.problems import Problems, expected_one_of
from airflow_config.retry_waits import MOST_RETRIES, longest_waits

#: Fits a Redis key, a pool, a systemd unit and an Ansible group alike. 63 characters, because a
#: unit's name has at most 255 bytes, and some of them are airlane's and a host's.
NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")

#: Names that mean something else to a tool that we use them with.
RESERVED = {
    "queues": {
        "default_pool": "is Airflow's own pool",
        **dict.fromkeys(("unacked", "unacked_index", "unacked_mutex"), "is Celery's own Redis key"),
    },
    "workers": dict.fromkeys(("all", "ungrouped", "localhost"), "Ansible keeps for itself"),
}

Entries = Mapping[str, Any]


def check_rules(
    problems: Problems,
    queues: Entries,
    workers: Entries,
    retries: tuple[int, timedelta, timedelta],
) -> None:
    """Add a problem for each rule that the queues and worker classes break.

    Parameters
    ----------
    problems
        Collects what is wrong, each with its line and what to do.
    queues, workers
        The two sections as they were written.
    retries
        `count`, `delay` and `max_delay` of a queue that says none.
    """
    _names(problems, "queues", queues)
    _names(problems, "workers", workers)
    queues = {name: entry if isinstance(entry, dict) else {} for name, entry in queues.items()}
    workers = {name: entry if isinstance(entry, dict) else {} for name, entry in workers.items()}
    _priorities(problems, queues)
    _default(problems, queues)
    _homes(problems, queues, workers)
    for name, queue in queues.items():
        if isinstance(queue.get("promise"), dict):
            _workers_of_its_own(problems, name, workers)
            _times(problems, name, queue, retries)
    for name, worker in workers.items():
        _lending(problems, queues, name, worker)
        _drain(problems, queues, name, worker)


def _names(problems: Problems, section: str, names: Entries) -> None:
    for name in names:
        if not NAME.fullmatch(name):
            message = (
                f"expected a name that matches {NAME.pattern}, found {name!r}: it becomes a Redis "
                "key, a pool, a unit of systemd and a group of Ansible. Fix: small letters, digits "
                "and _"
            )
            problems.add((section, name), message)
        elif reason := RESERVED[section].get(name):
            message = (
                f"expected a name of its own, found {name!r}, which {reason}. Fix: another name"
            )
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
                f"expected a priority of its own, found {priority} as in queues.{other}. Fix: a "
                "higher number for the one whose tasks go first",
            )


def _default(problems: Problems, queues: Entries) -> None:
    defaults = [name for name, queue in queues.items() if queue.get("default") is True]
    if not defaults:
        problems.add(
            ("queues",),
            "expected one queue with default: true, found none. Fix: give it to the queue of "
            "tasks that name none",
        )
        return
    for name in defaults[1:]:
        problems.add(
            ("queues", name, "default"),
            "expected one queue with default: true, found a second after "
            f"queues.{defaults[0]}. Fix: take one of them out",
        )
    allowed = queues[defaults[0]].get("allowed_dags", ["*"])
    if isinstance(allowed, list) and "*" not in allowed:
        problems.add(
            ("queues", defaults[0], "allowed_dags"),
            f'expected ["*"], because any task may name no queue, found {allowed}. Fix: take it '
            "out",
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
                "lent workers alone may all be busy for hours. Fix: add one to workers",
            )


def _workers_of_its_own(problems: Problems, name: str, workers: Entries) -> None:
    """A queue with a promise has workers that nobody else keeps busy, at all times."""
    at_home = {cls: worker for cls, worker in workers.items() if worker.get("home") == name}
    if not at_home:
        return  # told already
    own = {cls: worker for cls, worker in at_home.items() if not worker.get("lends_to")}
    if not own:
        problems.add(
            ("queues", name, "promise"),
            f"expected a worker class with home: {name} that lends to no other queue, found only "
            f"{', '.join(at_home)}: while it is lent, nobody keeps the promise. Fix: take "
            "lends_to out, or add a class",
        )
    hosts = {cls: worker.get("hosts") for cls, worker in own.items()}
    none = [
        cls for cls, entry in hosts.items() if isinstance(entry, dict) and entry.get("min") == 0
    ]
    if own and len(none) == len(own):
        problems.add(
            ("workers", none[0], "hosts", "min"),
            f"expected at least 1, because queues.{name} has a promise, found 0: until a host is "
            "there, nobody keeps it. Fix: min: 1",
        )


def _times(
    problems: Problems,
    name: str,
    queue: Mapping[str, Any],
    defaults: tuple[int, timedelta, timedelta],
) -> None:
    """A promise leaves time for the longest task, and for the waits before its retries.

    `promise.task` is none of these: a time limit at it would end a task that takes longer but may
    leave its run in time.
    """
    end_to_end = _duration(queue["promise"].get("end_to_end"))
    if end_to_end is None:
        return
    promised = format_duration(end_to_end)
    timeout = _duration(queue.get("task_timeout"))
    if timeout is not None and timeout > end_to_end:
        problems.add(
            ("queues", name, "task_timeout"),
            f"expected at most {promised} (promise.end_to_end), found {format_duration(timeout)}: "
            "one task may take longer than all of its run. Fix: a shorter task_timeout, or promise "
            "less",
        )
    raw = queue.get("retries")
    retries = raw if isinstance(raw, dict) else {}
    longest = _duration(retries.get("max_delay", defaults[2]))
    if longest is None:
        return
    if longest >= end_to_end:
        default = "" if "max_delay" in retries else " by default"
        problems.add(
            ("queues", name, "retries", "max_delay"),
            f"expected less than {promised} (promise.end_to_end), found {format_duration(longest)}"
            f"{default}: a task that waits so long for its retry is late. Fix: retries: "
            f"{{max_delay: ...}} below {promised}, or promise less",
        )
        return
    count, delay = retries.get("count", defaults[0]), _duration(retries.get("delay", defaults[1]))
    # what is no number of retries is told elsewhere, and must not be counted to here
    if type(count) is not int or not 0 <= count <= MOST_RETRIES or delay is None:
        return
    waits = longest_waits(count, delay, longest)
    if waits >= end_to_end:
        problems.add(
            ("queues", name, "retries"),
            f"expected all waits for retries to be below {promised} together "
            f"(promise.end_to_end), found up to {format_duration(waits)}: a task that needs its "
            "last retry is late. Fix: a lower count, delay or max_delay, or promise less",
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
            problems.add(
                place, f"expected queues other than its home, found {queue!r}. Fix: take it out"
            )
        elif queue in lends_to[:index]:
            problems.add(
                place, f"expected each queue once, found {queue!r} again. Fix: take it out"
            )
        elif isinstance(floor, int) and isinstance(priority, int) and priority < floor:
            problems.add(
                place,
                f"expected queues of a higher priority than {home!r} ({floor}), "
                f"found {queue!r} ({priority}); workers never lend downward. Fix: take it out",
            )


def _drain(problems: Problems, queues: Entries, name: str, worker: Mapping[str, Any]) -> None:
    limit = _duration(worker.get("drain"))
    if limit is None:
        return
    timeouts = {
        queue: timeout
        for queue in _served(worker)
        if queue in queues and (timeout := _duration(queues[queue].get("task_timeout")))
    }
    longest = max(timeouts, key=lambda queue: timeouts[queue], default=None)
    if longest is not None and timeouts[longest] > limit:
        least = format_duration(timeouts[longest])
        problems.add(
            ("workers", name, "drain"),
            f"expected at least {least} (queues.{longest}.task_timeout), found "
            f"{format_duration(limit)}: a drain would cut tasks off that are still in time. Fix: "
            f"take it out, which means {least}, or a shorter task_timeout",
        )


def _served(worker: Mapping[str, Any]) -> Iterator[str]:
    lends_to = worker.get("lends_to")
    for queue in (worker.get("home"), *(lends_to if isinstance(lends_to, list) else ())):
        if isinstance(queue, str):
            yield queue


def _duration(written: object) -> timedelta | None:
    """Return a duration; None for what is none, which is told elsewhere."""
    try:
        return parse_duration(written)
    except ValueError:
        return None
