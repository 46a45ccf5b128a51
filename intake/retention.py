"""What may leave the streams: by age, and only behind what is acknowledged and decided."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Engine, delete, func, select

from intake import keys, ledger
from intake.tables import OutboxRow

logger = logging.getLogger(__name__)

#: Entries looked at in one call: each may carry a payload of 64 KiB.
_PAGE = 100
#: Calls of one pass: decisions that are to be published wait for its end.
_PAGES = 50

_Id = tuple[int, int]
_Entry = tuple[bytes, dict[bytes, bytes]]

#: Share of the events server's memory at which sign-ups leave before their age.
_NEARLY_FULL = 0.8


def trim_decisions(engine: Engine, client: Redis, keep: timedelta) -> None:
    """Remove published decisions older than `keep` from the outbox, then from the stream.

    The stream is cut where the outbox begins, so the two hold the same; the ledger keeps all. The
    row of the highest position always stays: positions go on from it.
    """
    cutoff = datetime.now(UTC) - keep
    highest = select(func.max(OutboxRow.position)).scalar_subquery()
    with engine.begin() as connection:
        connection.execute(
            delete(OutboxRow)
            .where(OutboxRow.published_at < cutoff, OutboxRow.position < highest)
            .execution_options(synchronize_session=False)
        )
    with engine.connect() as connection:
        first = connection.scalar(select(func.min(OutboxRow.position)))
    if first is not None:
        client.xtrim(keys.DECISIONS, minid=f"{first}-0", approximate=False)


def is_nearly_full(client: Redis) -> bool:
    """Say whether the events server has a bound for its data and is near to it."""
    found = client.info("memory")
    bound = int(found["maxmemory"])
    return bound > 0 and int(found["used_memory"]) >= bound * _NEARLY_FULL


def trim_signups(engine: Engine, client: Redis, keep: timedelta) -> bool:
    """Remove sign-ups older than `keep` from the stream, up to the first that is not done with.

    Done with = delivered, acknowledged, and either decided (it is in the ledger) or a dead letter.

    Returns
    -------
    bool
        False when there is more than one pass takes: it goes on where this one ended.
    """
    cutoff = int((datetime.now(UTC) - keep).timestamp() * 1000)
    end = _acknowledged(client)
    if end is None:
        return True
    done: _Id | None = None
    start, whole = "-", False
    for _ in range(_PAGES):
        page = cast(
            "list[_Entry]",
            client.xrange(keys.SIGNUPS, min=start, max=f"{cutoff}-0", count=_PAGE),
        )
        count = _done_with(engine, client, page, end, keep)
        if count:
            done = _id(page[count - 1][0])
        if count < _PAGE:
            whole = True
            break
        start = f"({page[-1][0].decode()}"
    if done is not None:
        client.xtrim(keys.SIGNUPS, minid=f"{done[0]}-{done[1] + 1}", approximate=False)
        client.zremrangebyscore(keys.BURIED, "-inf", f"({done[0]}")
    return whole


def _done_with(
    engine: Engine, client: Redis, page: Sequence[_Entry], end: _Id, keep: timedelta
) -> int:
    """Return how many entries are done with before the first that is not."""
    finished = _finished(engine, client, page)
    for count, (entry_id, fields) in enumerate(page):
        if _id(entry_id) >= end:
            return count
        if not finished[count]:
            # of any age: it is on its way
            if keep:
                logger.warning(
                    "%s entry %s (event %s) is acknowledged, older than %s and not decided: it and "
                    "what follows stays in the stream",
                    keys.SIGNUPS,
                    entry_id.decode(),
                    fields.get(b"event_id", b"?")[:80],
                    keep,
                )
            return count
    return len(page)


def _acknowledged(client: Redis) -> _Id | None:
    """Return the id below which every entry is delivered and acknowledged."""
    try:
        groups = client.xinfo_groups(keys.SIGNUPS)
    except ResponseError as error:
        if "no such key" not in str(error):
            raise
        return None
    for group in groups:
        if group["name"] == keys.GROUP.encode():
            delivered, sequence = _id(group["last-delivered-id"])
            pending = client.xpending(keys.SIGNUPS, keys.GROUP)
            # Asked for after the first: what was delivered in between lies above it.
            return _id(pending["min"]) if pending["pending"] else (delivered, sequence + 1)
    return None


def _finished(engine: Engine, client: Redis, page: Sequence[_Entry]) -> list[bool]:
    if not page:
        return []
    names = [fields.get(b"event_id", b"").decode(errors="replace") for _, fields in page]
    wanted = [name for name in names if name and "\0" not in name]
    decided = ledger.decided(engine, wanted)
    ids = [entry_id.decode() for entry_id, _ in page]
    scores = cast("list[Any]", client.zmscore(keys.BURIED, ids))
    return [name in decided or score is not None for name, score in zip(names, scores, strict=True)]


def _id(text: bytes) -> _Id:
    milliseconds, _, sequence = text.decode().partition("-")
    return int(milliseconds), int(sequence)
