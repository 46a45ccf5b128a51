"""The platform's own small work, on its own queue: never behind a flood."""

from __future__ import annotations

import logging
from pathlib import Path

from airflow.sdk import CronTriggerTimetable, dag, task
from airflow.sdk.configuration import conf

from airflow_config import log_retention

log = logging.getLogger(__name__)


@dag(
    dag_id="airlane_housekeeping",
    schedule=CronTriggerTimetable("30 3 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["airlane"],
    doc_md=f"""
Deletes task logs that are older than {log_retention.KEEP.days} days, every night.
""",
)
def airlane_housekeeping() -> None:
    @task(queue="control")
    def prune_task_logs() -> int:
        folder = Path(conf.get("logging", "base_log_folder"))
        files, size = log_retention.prune(folder)
        log.info("deleted %d log files, %.1f MiB", files, size / 2**20)
        return files

    prune_task_logs()


airlane_housekeeping()
