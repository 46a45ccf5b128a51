"""Readiness: a server that is away is an answer too."""

from __future__ import annotations

import pytest
import redis
from celery.app.control import Inspect
from kombu.exceptions import OperationalError

from deploy import probes


@pytest.mark.parametrize(
    "error", [OSError("reset"), OperationalError("refused"), redis.ConnectionError("closed")]
)
def test_a_worker_does_not_consume_while_its_broker_goes_away(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Inspect) -> None:
        raise error

    monkeypatch.setattr(Inspect, "active_queues", fail)
    assert not probes.worker_consumes("redis://127.0.0.1:1/0", "worker-batch")
