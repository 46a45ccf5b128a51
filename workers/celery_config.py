"""Celery's configuration, for every process that speaks Celery: `[celery] celery_config_options`.

The scheduler, the workers and Flower load it by the name `workers.celery_config.CELERY_CONFIG`.
It is Airflow's own configuration and what airlane adds to it; importing it also connects the
signals that keep tokens out of what Flower shows and that warm a worker up.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

from airflow_config import queues
from workers import (
    arguments,
    celery_settings,
    command,
    duty,
    finished_logs,
    preload,
    registry,
    watchdog,
)
from workers.class_facts import preloaded

#: Which class this process serves; None in the scheduler and in Flower.
WORKER_CLASS = command.class_of_part(os.environ.get("AIRLANE_PART", ""))


CELERY_CONFIG: dict[str, Any] = {
    **DEFAULT_CELERY_CONFIG,
    **celery_settings.OWN,
    "broker_transport_options": {
        **DEFAULT_CELERY_CONFIG["broker_transport_options"],
        **celery_settings.transport_options(WORKER_CLASS),
    },
}

arguments.connect()
registry.connect(WORKER_CLASS)
watchdog.connect(WORKER_CLASS)
if WORKER_CLASS is not None:
    from workers import aging_pool  # only a worker has a pool

    CELERY_CONFIG["worker_pool"] = aging_pool.pool(celery_settings.SECONDS_PER_CHILD)
    _fleet = queues.load()
    preload.connect(preloaded(_fleet, WORKER_CLASS), _fleet.consumes(WORKER_CLASS))
    finished_logs.connect()
    duty.connect(_fleet.consumes(WORKER_CLASS))
