"""Celery's configuration with processes that have reached their age after their first task."""

from __future__ import annotations

from workers import aging_pool, celery_config

CELERY_CONFIG = {**celery_config.CELERY_CONFIG, "worker_pool": aging_pool.pool(0)}
