"""Airflow's settings, derived from the queue model and the place of an instance.

Only what differs from Airflow's defaults is set, each with its reason and unit. A test proves
that the installed Airflow and its providers know every key.

What follows from queues.yaml is in `queue_settings`.

Two roles: `control` (API server, scheduler, DAG processor, triggerer, Flower) and `worker`,
which gets neither a login to the metadata database nor any key: tasks speak to the API server
with the token that came with their message.
"""

from __future__ import annotations

import json
from typing import Literal

from airflow_config import fleet_settings, queue_settings
from airflow_config.place import Place
from airflow_config.queues import Fleet

Role = Literal["control", "worker", "logs"]
Settings = dict[str, dict[str, str]]

#: Seconds without a heartbeat after which a running task counts as lost, and between looks for
#: such tasks: together under 30 s. Not lower, because an API server that restarts takes 10 to
#: 15 s, in which no heartbeat arrives.
HEARTBEAT_TIMEOUT, HEARTBEAT_CHECK = 24, 4

#: Defaults of DAGs and tasks whose author said nothing, which the policies take for that and
#: replace by what the queue says (see `unsaid`): numbers that nobody writes by hand, so that an
#: author's own is never taken for none. They have to be harmless where no policy replaces them
#: (`airflow dags reserialize` with a queues.yaml that cannot be read): so many active runs are
#: fewer than a queue with a promise may have, and Airflow takes less than no retries for none
#: (`_is_eligible_to_retry` of execution_api/routes/task_instances.py, 3.3.2). Retries can't be 0,
#: which authors write; nor above it, because a mapped task's `retries=0` is left out when its DAG
#: is serialized and becomes the default (`_is_excluded` of serialized_objects.py, 3.3.2).
UNSAID_ACTIVE_RUNS, UNSAID_RETRIES = 197, -1
#: The same, and no limit: one of its own would stop a run with 1,000 mapped tasks from using what
#: is free, and pools bound that already.
UNSAID_ACTIVE_TASKS = 1_000_009

#: A login that cannot exist: the folder of its socket lies below a device. Airflow's modules
#: build an engine when they are imported, so a worker needs an address that can be read.
NO_DATABASE = "postgresql+psycopg://none@/none?host=/dev/null/workers-have-no-metadata-database"

#: Name of the module that Airflow imports, in AIRFLOW_HOME/config.
LOCAL_SETTINGS = '''\
"""Written by airlane on every start: hands airlane's policies to Airflow. Do not edit."""

from airflow_config.policies import dag_policy, task_policy

# Without __all__, every name here would overwrite one in airflow.settings.
__all__ = ["dag_policy", "task_policy"]
'''


def airflow_settings(fleet: Fleet, place: Place, role: Role) -> Settings:
    """Return Airflow's settings: section -> key -> value.

    Parameters
    ----------
    fleet
        The queue model.
    place
        Folders, addresses and keys of the instance.
    role
        `control`, `worker`, or `logs` (the server of task logs on a worker host).
    """
    if role == "logs":
        none = {"sql_alchemy_conn": NO_DATABASE}
        return {**fleet_settings.log_server(place), "database": none}
    own_parts = _control(place) if role == "control" else _worker()
    parts = [_common(place), own_parts, queue_settings.of_role(fleet, role)]
    if place.spread is not None:
        own = fleet_settings.control if role == "control" else fleet_settings.worker
        parts += [fleet_settings.common(place.spread), own(place.spread)]
    settings: Settings = {}
    for part in parts:
        for section, values in part.items():
            settings.setdefault(section, {}).update(values)
    return settings


def render_cfg(settings: Settings) -> str:
    """Write settings as the text of an airflow.cfg; it may hold secrets."""
    lines = ["# Written by airlane on every start, from queues.yaml and the instance. Do not edit."]
    for section, values in settings.items():
        lines += ["", f"[{section}]"]
        for key, value in values.items():
            if "\n" in value or "\r" in value:
                raise ValueError(f"expected [{section}] {key} on one line, found a line break")
            # configparser reads % as the start of a reference to another key.
            lines.append(f"{key} = {value.replace('%', '%%')}")
    return "\n".join(lines) + "\n"


def local_settings_source() -> str:
    """Return the text of AIRFLOW_HOME/config/airflow_local_settings.py."""
    return LOCAL_SETTINGS


def _common(place: Place) -> Settings:
    return {
        "core": {
            "dags_folder": str(place.root / "dags"),
            "executor": "airflow_config.executor.AirlaneExecutor",
            "load_examples": "False",
            # The name as it is: a look-up of the full name can take seconds without a resolver.
            "hostname_callable": "socket.gethostname",
            "execution_api_server_url": f"{place.api_url}/execution/",
            # The policies set it on every task anyway; `downstream` lets a large DAG outgrow.
            "default_task_weight_rule": "absolute",
            "max_active_runs_per_dag": str(UNSAID_ACTIVE_RUNS),
            "max_active_tasks_per_dag": str(UNSAID_ACTIVE_TASKS),
            "default_task_retries": str(UNSAID_RETRIES),
        },
        "api": {"base_url": place.api_url},
        "logging": {
            "base_log_folder": str(place.logs),
            "dag_processor_child_process_log_directory": str(place.logs / "dag_processor"),
            "remote_logging": "False",
            "colored_console_log": "False",
            # Logs may tell about applicants: for this account and its group.
            "file_task_handler_new_folder_permissions": "0o750",
            "file_task_handler_new_file_permissions": "0o640",
        },
        "workers": {
            # An API server that restarts must not cost a task: about 30 s of tries.
            "execution_api_retries": "12",
            "execution_api_retry_wait_min": "0.2",
            "execution_api_retry_wait_max": "5",
            # Seconds; a loaded machine of two cores can take longer than the default of 5.
            "execution_api_timeout": "10",
        },
        "scheduler": {
            # Tasks read it too: their heartbeats must come before it.
            "task_instance_heartbeat_timeout": str(HEARTBEAT_TIMEOUT),
        },
        "celery": {
            "celery_config_options": "workers.celery_config.CELERY_CONFIG",
            "broker_url": place.broker_url,
            # On Redis rather than in the database: workers need no login to it.
            "result_backend": place.result_url,
            # Seconds to send a message; the default of 1 is exceeded on a loaded machine.
            "operation_timeout": "5",
            # In the scheduler's own process: more would start a pool of processes for every
            # batch of messages, which costs more than sending a few dozen.
            "sync_parallelism": "1",
            "flower_host": "127.0.0.1",
        },
        "dag_processor": {
            # By default a folder in the machine's temporary one, shared between instances.
            "dag_bundle_storage_path": str(place.airflow_home / "bundles"),
            # DAGs come from one folder without versions: nothing to clean up, and a process
            # less in every worker.
            "stale_bundle_cleanup_interval": "0",
        },
    }


def _worker() -> Settings:
    coordinators = {"airlane": {"classpath": "workers.coordinator.WarmCoordinator"}}
    return {
        "database": {"sql_alchemy_conn": NO_DATABASE},
        # Who runs the tasks of a queue: Airflow's own way, in a process that is warm.
        "sdk": {
            "coordinators": json.dumps(coordinators),
        },
    }


def _control(place: Place) -> Settings:
    return {
        "core": {
            "auth_manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "fernet_key": place.fernet_key,
            "dags_are_paused_at_creation": "False",
            # Policies put every task into its queue's pool; what got past them runs alone.
            "default_pool_task_slot_count": "1",
            "max_map_length": "4096",
            # Seconds until a DAG that changed twice shows again.
            "min_serialized_dag_update_interval": "5",
        },
        "database": {
            "sql_alchemy_conn": place.airflow_db_url,
            # Connections kept, and no bound of those beyond: the API server looks up tokens in its
            # event loop (`RevokedToken.is_revoked`, 3.3.2), and when requests have all connections,
            # it waits there for one, 30 s in which it answers nobody and none is given back.
            "sql_alchemy_pool_size": "20",
            "sql_alchemy_max_overflow": "-1",
        },
        "api": {
            "host": "127.0.0.1",
            "port": str(place.api_port),
            "secret_key": place.api_secret_key,
            "expose_config": "False",
            # One process is about 250 MB; it serves some 20 tasks a second.
            "workers": "1",
        },
        "api_auth": {
            "jwt_secret": place.jwt_secret,
            # Seconds that a token is taken after its end: longer than a late message may have
            # to wait until it is sent again (`task_queued_timeout_check_interval`, a slow loop).
            "jwt_leeway": "20",
        },
        "fab": {
            # Minutes without activity: a working day.
            "session_lifetime_minutes": "720",
        },
        "scheduler": {
            # The executor waits for changes itself; a sleep here would come on top.
            "scheduler_idle_sleep_time": "0",
            "task_instance_heartbeat_timeout_detection_interval": str(HEARTBEAT_CHECK),
            # Of `task_queued_timeout`, see queue_settings.
            "task_queued_timeout_check_interval": "5",
            # Tasks of a scheduler that died: noticed within 20 s, taken over within 15 s more.
            "scheduler_heartbeat_sec": "2",
            "scheduler_health_check_threshold": "20",
            "orphaned_tasks_check_interval": "15",
            # Tasks sent per loop: a burst goes out in few loops, and a full batch pool does not
            # make each loop read hundreds of tasks.
            "max_tis_per_query": "32",
            # Seconds; costs a query each time, and nobody listens on this machine.
            "pool_metrics_interval": "60",
            "scheduler_health_check_server_host": "127.0.0.1",
        },
        "triggerer": {
            # The listener of a triggerer that died goes on elsewhere after this many seconds.
            "job_heartbeat_sec": "2",
            "triggerer_health_check_threshold": "10",
        },
        "dag_processor": {
            # Seconds between looks for new files.
            "refresh_interval": "10",
            # Changed files are parsed at once by their time of change; this is for unchanged
            # ones (seconds): 200 of them every 30 s would fill two cores.
            "min_file_process_interval": "600",
            "print_stats_interval": "600",
        },
    }
