"""Celery's configuration with processes that are replaced after three tasks."""

from __future__ import annotations

from workers import celery_config

CELERY_CONFIG = {**celery_config.CELERY_CONFIG, "worker_max_tasks_per_child": 3}
