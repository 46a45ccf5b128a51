"""The relay: a small service that publishes decisions and trims the streams.

It holds no state: PostgreSQL has it all. It can be killed and started at any time, and run twice.
A commit to the outbox wakes it (LISTEN/NOTIFY); once a second it looks by itself.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import psycopg
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from airflow_config import systemd
from intake.backoff import delay
from intake.database import engine as make_engine
from intake.ledger import CHANNEL
from intake.outbox import Publisher, connect
from intake.retention import is_nearly_full, trim_decisions, trim_signups
from intake.settings import IntakeSettings, MissingSettingError

logger = logging.getLogger(__name__)

#: Seconds between looks when nothing wakes it.
POLL = 1.0
#: Seconds between looks for what the events server lost, and for what may be trimmed.
_HEAL_EVERY = 5.0
_TRIM_EVERY = 60.0


class Relay:
    """The service's loop.

    Parameters
    ----------
    app_db_url, events_url
        The `app` database and the events server, with the relay's logins.
    keep
        Age at which entries may leave the streams.
    heartbeat
        A file touched after every pass that reached both servers; None for none.
    poll
        Seconds between looks when nothing wakes it; also the longest time that a stop takes.
    """

    def __init__(
        self,
        app_db_url: str,
        events_url: str,
        keep: timedelta,
        heartbeat: Path | None = None,
        poll: float = POLL,
    ) -> None:
        self._listen_url = (
            make_url(app_db_url).set(drivername="postgresql").render_as_string(hide_password=False)
        )
        self._engine: Engine = make_engine(app_db_url)
        self._client = connect(events_url)
        self._publisher = Publisher(self._engine, self._client)
        self._keep = keep
        self._heartbeat = heartbeat
        self._poll = poll
        self._stop = threading.Event()
        self._ready = self._is_full = False
        self._failures = 0
        self._healed = self._trimmed = float("-inf")

    def stop(self) -> None:
        """End after the pass that is under way."""
        self._stop.set()

    def run(self) -> None:
        """Work until stopped; servers that are away are waited for."""
        while not self._stop.is_set():
            try:
                self._work()
            except (SQLAlchemyError, psycopg.Error, RedisError, OSError) as error:
                self._failures += 1
                # a database's error goes on with statements and their parameters
                first = str(error).strip().partition("\n")[0]
                logger.warning("%s: %s", type(error).__name__, first)
                # Who waits for a server does not hang: a restart would not bring it back.
                systemd.service().progress()
                self._stop.wait(delay(self._failures))
        self._engine.dispose()
        self._client.close()

    def _work(self) -> None:
        with psycopg.connect(self._listen_url, autocommit=True, connect_timeout=5) as listener:
            # Before the first look, so that nothing is committed unseen between the two.
            listener.execute(f"LISTEN {CHANNEL}")
            while not self._stop.is_set():
                self._pass()
                for _ in listener.notifies(timeout=self._poll, stop_after=1):
                    pass

    def _pass(self) -> None:
        now = time.monotonic()
        if now - self._healed >= _HEAL_EVERY:
            self._publisher.heal()
            if self._look_for_room():
                self._healed = now
        while self._publisher.publish() and not self._stop.is_set():
            self._beat()
        if now - self._trimmed >= _TRIM_EVERY:
            trim_decisions(self._engine, self._client, self._keep)
            if trim_signups(self._engine, self._client, self._keep):
                self._trimmed = now
        self._failures = 0
        self._beat()

    def _look_for_room(self) -> bool:
        """Have sign-ups leave before their age when the events server is nearly full.

        Decisions stay: whoever awaits them may not have read them yet. False when more of them may
        leave at once.
        """
        full = is_nearly_full(self._client)
        if full and not self._is_full:
            logger.warning(
                "the events server is nearly full: sign-ups leave as soon as they are decided. "
                "Fix: a larger max_memory of events in the site file, or fewer stream_days"
            )
        self._is_full = full
        return not full or trim_signups(self._engine, self._client, timedelta(0))

    def _beat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.touch()
        systemd.service().progress()
        if not self._ready:
            self._ready = True
            sys.stdout.write("relay: ready\n")
            sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m intake.relay", description=__doc__)
    parser.add_argument("--heartbeat", type=Path, help="file to touch after every pass")
    parser.add_argument(
        "--poll",
        type=float,
        default=POLL,
        help="seconds between looks when no commit wakes it, and until it stops (%(default)s)",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = IntakeSettings()
    try:
        relay = Relay(
            settings.need("app_db_url"),
            settings.need("events_url"),
            timedelta(days=settings.stream_days),
            options.heartbeat,
            options.poll,
        )
    except MissingSettingError as error:
        sys.stderr.write(f"relay: {error}\n")
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relay.stop())
    relay.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
