"""Whether the installed Airflow's scheduler is the one that `scheduler_loop` was read from."""

from __future__ import annotations

from airflow import __version__
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.ti_deps.deps.base_ti_dep import BaseTIDep
from airflow.ti_deps.deps.mapped_task_upstream_dep import MappedTaskUpstreamDep

from airflow_config import sources

#: Airflow versions whose scheduler was read.
VERSIONS = ("3.3.2",)

#: sha256 (first 16 digits) of the source of what is replaced, or whose behaviour is relied on.
SOURCES = {
    "SchedulerJobRunner._run_scheduler_loop": "d7dd5578d64a9b0b",
    "SchedulerJobRunner._do_scheduling": "51f71a9e8998cc17",
    "SchedulerJobRunner._create_dagruns_for_dags": "4dd7b131288222e2",
    "SchedulerJobRunner._start_queued_dagruns": "fbda177476088ae5",
    "SchedulerJobRunner._schedule_all_dag_runs": "c2ef4c5dbb09d11b",
    "SchedulerJobRunner._schedule_dag_run": "246df0509d2c5ed9",
    "SchedulerJobRunner._executable_task_instances_to_queued": "08b9caf1548e92e5",
    "SchedulerJobRunner._critical_section_enqueue_task_instances": "eddd399664e1c9eb",
    "SchedulerJobRunner._enqueue_task_instances_with_queued_state": "40c9c6aeb4c66f0d",
    "SchedulerJobRunner._try_to_load_executor": "110506c4a9244148",
    "DagModel.dags_needing_dagruns": "41f872e6dc2b383f",
    "DagRun.get_running_dag_runs_to_examine": "e408ccb8d0c8afb3",
    "DagRun.get_queued_dag_runs_to_set_running": "2c49dd019cd6bda1",
    "Pool.slots_stats": "995b3c38b36e6add",
    "SchedulerJobRunner.process_executor_events": "7ae42ac0a7db779f",
    "SchedulerJobRunner._verify_integrity_if_dag_changed": "038a0c32e065a412",
    "DagVersion.get_latest_version": "7b24eab09be83605",
    "DagRun._get_ready_tis": "ca439416afde71b6",
    "DagRun.task_instance_scheduling_decisions": "1a72d07e6cd25925",
    "DagRun.check_version_id_exists_in_dr": "91ccfa2bb3f96b7f",
    "TaskInstance.filter_for_tis": "e5f8bf3c5a8811ce",
    "TaskInstance.get_dagrun": "bf7543db68f79b4f",
    "TaskInstance._get_dagrun": "88d7bc8aff69376e",
    "MappedTaskUpstreamDep._get_dep_statuses": "942a3a68071164e8",
    "BaseTIDep.get_dep_statuses": "a198713aa16ceae3",
    "DBDagBag._version_from_dag_run": "61890cc6412233e0",
}
_CLASSES = (
    *(SchedulerJobRunner, DagModel, DagRun, TaskInstance, Pool, DagVersion, DBDagBag),
    *(BaseTIDep, MappedTaskUpstreamDep),
)


def misfits() -> list[str]:
    """Return what of the installed Airflow is not as it was read; empty when all of it is."""
    found = []
    if __version__ not in VERSIONS:
        found.append(f"expected Airflow {' or '.join(VERSIONS)}, found {__version__}")
    found += sources.differences(SOURCES, {cls.__name__: cls for cls in _CLASSES})
    return found
