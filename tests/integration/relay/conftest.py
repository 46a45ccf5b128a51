"""A relay's publisher between a database and an events server of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from sqlalchemy import Engine

from intake import outbox
from intake.outbox import Publisher


@pytest.fixture
def events(redis_url: str) -> Iterator[redis.Redis]:
    client = outbox.connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def publisher(relay_engine: Engine, events: redis.Redis) -> Publisher:
    return Publisher(relay_engine, events)
