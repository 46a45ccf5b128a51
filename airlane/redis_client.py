"""Clients of Redis for commands; one from the shell, its answer printed as redis-cli prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from intake.escaping import printable

#: Seconds for an answer, more than a command ever asks to block for.
_ANSWER = 10


def connect(url: str) -> redis.Redis:
    """Return a client that fails when the server does not answer within 10 s."""
    return redis.Redis.from_url(url, socket_timeout=_ANSWER, retry=Retry(NoBackoff(), 0))


def run(url: str, words: list[str]) -> bool:
    """Send one command, print its answer; return False when the server refused it.

    It waits for an answer as long as it takes: the command may block.
    """
    with redis.Redis.from_url(url, protocol=2) as client:
        # the raw answer, not what redis-py makes of it
        client.response_callbacks.clear()
        try:
            answer = client.execute_command(*words)
        except redis.ResponseError as error:
            sys.stdout.write(f"(error) {error}\n")
            return False
    sys.stdout.write("\n".join(lines(answer)) + "\n")
    return True


def lines(answer: Any, indent: str = "") -> Iterator[str]:
    """Yield the lines that show an answer; lists are numbered and nested by indentation.

    What is not printable is escaped: it may be a producer's, and is shown on a terminal.
    """
    if isinstance(answer, list):
        if not answer:
            yield "(empty array)"
        width = len(str(len(answer)))
        for number, item in enumerate(answer, 1):
            head = f"{number:>{width}}) "
            inner = lines(item, indent + " " * len(head))
            first = next(inner)
            yield f"{head if number == 1 else indent + head}{first}"
            yield from inner
    elif isinstance(answer, bytes):
        text = answer.decode("utf-8", "backslashreplace")
        if "\n" in text and not indent:
            yield "\n".join(printable(line.rstrip("\r")) for line in text.split("\n"))
        else:
            yield f'"{printable(text)}"'
    elif isinstance(answer, int):
        yield f"(integer) {answer}"
    elif answer is None:
        yield "(nil)"
    else:
        yield printable(str(answer))
