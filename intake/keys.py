"""Every Redis key that airlane owns on the events server, and who may touch it.

Keys
----
`signups` (stream)
    Sign-up events, written by producers. Fields: `event_id`, `entity_id`, `at`, optional
    `payload`. The entry's own id gives the time of receipt. Trimmed by the relay by age, or when
    the server is nearly full, only behind what is acknowledged and decided.
`signups` group `intake`
    The consumer group of the listener: what lies in its pending list has no DagRun yet, or its
    dead letter is not written yet. One consumer per triggerer process.
`decisions` (stream)
    Decisions, written by the relay alone. The id of an entry is `<position>-0`, the position
    that PostgreSQL's outbox gave the row; ids are therefore the same after a rebuild, and a
    reader's cursor stays valid. Fields: `event_id`, `decision`, `json` (the whole object).
`airlane:dead` (stream)
    Dead letters. Fields: `reason`, `source` (the id in `signups`, or empty), and the event's
    fields as they came, each with the prefix `event.`. Removed by a replay, never by age.
`airlane:signups:buried` (sorted set)
    Ids of `signups` entries that ended as a dead letter (score: their time in ms): such an entry
    counts as decided when the stream is trimmed. Trimmed together with it.

The broker is another server (and must be: whoever can write to a broker can run code on workers).
"""

from __future__ import annotations

SIGNUPS = "signups"
GROUP = "intake"
DECISIONS = "decisions"
DEAD = "airlane:dead"
BURIED = "airlane:signups:buried"

#: Days that entries stay in the streams at most: a hundred years ago there was a date still.
MAX_STREAM_DAYS = 36_500

#: What a client needs to log in and to introduce itself. Not `client|setinfo`: Redis 7.0, which
#: Debian 12 has, refuses to start with a rule about it, and clients go on without it.
_CONNECT = [
    "+auth",
    "+hello",
    "+ping",
    "+quit",
    "+select",
    "+client|setname",
    "+client|id",
]
_NOTHING = ["reset", "on", "-@all", *_CONNECT]
_SCRIPTS = ["+evalsha", "+eval", "+script|load"]

#: Rules of the events server's users in the words of `ACL SETUSER`, without passwords.
#: `reset` drops what the user had before, its passwords too: set the password after the rules.
EVENTS_ACL: dict[str, list[str]] = {
    "producer": [
        *_NOTHING,
        f"%W~{SIGNUPS}",
        f"%R~{DECISIONS}",
        "+xadd",
        "+xread",
        "+xrange",
        "+xrevrange",
    ],
    "intake": [
        *_NOTHING,
        *_SCRIPTS,
        f"%RW~{SIGNUPS}",
        f"%RW~{DEAD}",
        f"%RW~{BURIED}",
        "+xgroup|create",
        "+xgroup|delconsumer",
        "+xreadgroup",
        "+xautoclaim",
        "+xclaim",
        "+xack",
        "+xinfo|consumers",
        "+xpending",
        "+xrange",
        "+xadd",
        "+zadd",
    ],
    "relay": [
        *_NOTHING,
        *_SCRIPTS,
        f"%RW~{DECISIONS}",
        f"%RW~{DEAD}",
        f"%RW~{SIGNUPS}",
        f"%RW~{BURIED}",
        "+exists",
        "+info",
        "+xadd",
        "+xrange",
        "+xinfo|stream",
        "+xinfo|groups",
        "+xpending",
        "+xtrim",
        "+zscore",
        "+zmscore",
        "+zremrangebyscore",
    ],
    "operator": [
        *_NOTHING,
        *_SCRIPTS,
        f"~{SIGNUPS}",
        f"~{DECISIONS}",
        "~airlane:*",
        "+@read",
        "+@stream",
        "+@sortedset",
        "+del",
        "+info",
        "+command",
        "-keys",
    ],
}
