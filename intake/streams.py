"""The stream `signups`, read by a consumer group: what is delivered stays pending until done."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from intake import keys, scripts

#: Milliseconds of idle time given to an entry that its consumer lets go: anyone may claim it now.
_RELEASED_MS = 24 * 3600 * 1000
#: Seconds that the events server may take to answer, beyond the time asked to block.
_ANSWER = 10
#: Seconds after which a consumer with nothing pending is taken for dead and removed.
_FORGET = 3600


@dataclass(frozen=True)
class Entry:
    """One entry of the stream as delivered to a consumer; fields are raw bytes."""

    id: bytes
    fields: Mapping[bytes, bytes]


def connect(url: str) -> Redis:
    """Return a client whose replies have the shape that this module reads (RESP2, bytes)."""
    return Redis.from_url(url, protocol=2, decode_responses=False, socket_timeout=_ANSWER)


def consumer_name() -> str:
    """Return a name that no other process ever had: a consumer is one life of one reader."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"


class SignupReader:
    """One consumer of the group.

    Parameters
    ----------
    client
        From `connect`.
    consumer
        Name of the consumer.
    claim_after
        Seconds without a sign of life (`keep`) after which an entry of another consumer is taken.
    """

    def __init__(self, client: Redis, consumer: str, claim_after: float) -> None:
        self._client = client
        self._consumer = consumer
        self._claim_after_ms = int(claim_after * 1000)

    async def ensure_group(self) -> None:
        """Create the group, at the stream's beginning, unless it is there."""
        try:
            # a server that is full refuses to create it, also when it is there
            await self._client.xinfo_consumers(keys.SIGNUPS, keys.GROUP)
        except ResponseError as error:
            if not any(word in str(error) for word in ("NOGROUP", "no such key")):
                raise
            await self._create_group()

    async def _create_group(self) -> None:
        try:
            await self._client.xgroup_create(keys.SIGNUPS, keys.GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def read(self, count: int, block_ms: int) -> list[Entry]:
        """Return up to `count` new entries, as soon as there is one; none after `block_ms`."""
        try:
            reply: Any = await self._client.xreadgroup(
                keys.GROUP, self._consumer, {keys.SIGNUPS: ">"}, count=count, block=block_ms
            )
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            # The server was rebuilt empty under us.
            await self.ensure_group()
            return []
        return [entry for _, entries in reply or [] for entry in _entries(entries)]

    async def claim(self, count: int) -> list[Entry]:
        """Take over up to `count` entries of consumers that show no sign of life."""
        start: Any = "0-0"
        while True:
            reply: Any = await self._client.xautoclaim(
                keys.SIGNUPS,
                keys.GROUP,
                self._consumer,
                min_idle_time=self._claim_after_ms,
                start_id=start,
                count=count,
            )
            start, raw, *_ = reply
            claimed = _entries(raw)
            # One call looks at a part of the pending list only, and ours may come first there.
            if claimed or start == b"0-0":
                return claimed

    async def keep(self, ids: Iterable[bytes]) -> None:
        """Show a sign of life for entries that are still worked on."""
        await self._set_idle(ids, 0)

    async def release(self, ids: Iterable[bytes]) -> None:
        """Let entries go that are not done: the next reader claims them at once."""
        await self._set_idle(ids, _RELEASED_MS)

    async def _set_idle(self, ids: Iterable[bytes], idle_ms: int) -> None:
        wanted = list(ids)
        if wanted:
            await self._client.xclaim(
                keys.SIGNUPS,
                keys.GROUP,
                self._consumer,
                min_idle_time=0,
                message_ids=cast("Any", wanted),
                idle=idle_ms,
                justid=True,
            )

    async def acknowledge(self, entry_id: bytes) -> None:
        """Mark an entry as done: its DagRun exists."""
        await self._client.xack(keys.SIGNUPS, keys.GROUP, entry_id)

    async def bury(self, entry_id: bytes, reason: str) -> bool:
        """Make an entry a dead letter and acknowledge it, both at once.

        Returns
        -------
        bool
            False when it was not pending any more: another reader has brought it to its end.
        """
        letter: Any = await self._client.eval(
            scripts.source("bury"),
            3,
            keys.SIGNUPS,
            keys.DEAD,
            keys.BURIED,
            keys.GROUP,
            entry_id,
            # A reason may quote what is no text: lone surrogates have no UTF-8.
            reason[:1000].encode(errors="backslashreplace"),
        )
        return letter is not None

    async def retire(self) -> None:
        """Remove this consumer if nothing is pending for it."""
        await self._retire(self._consumer, 0)

    async def retire_dead(self) -> None:
        """Remove consumers of former lives that have nothing pending."""
        for consumer in await self._client.xinfo_consumers(keys.SIGNUPS, keys.GROUP):
            if consumer["idle"] > _FORGET * 1000 and not consumer["pending"]:
                await self._retire(consumer["name"], _FORGET * 1000)

    async def _retire(self, consumer: str | bytes, idle_ms: int) -> None:
        await self._client.eval(
            scripts.source("retire"),
            1,
            keys.SIGNUPS,
            keys.GROUP,
            cast("str", consumer),
            str(idle_ms),
        )


def _entries(raw: Iterable[Any]) -> list[Entry]:
    # An entry that was deleted while pending comes without fields; it can only be buried.
    return [Entry(entry_id, fields or {}) for entry_id, fields in raw if entry_id is not None]
