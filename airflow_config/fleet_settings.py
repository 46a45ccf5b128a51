"""Airflow's settings that only a fleet needs: TLS to its servers, a proxy, logs of other hosts.

The API server, Flower and the scheduler's health check listen on loopback here too: a proxy with
the host's certificate stands before what others may reach.
"""

from __future__ import annotations

import json

from airflow_config.place import Place, Spread

Settings = dict[str, dict[str, str]]

#: Airflow's own name of the bundle of `[core] dags_folder`: what ran before stays where it was.
BUNDLE = "dags-folder"


def common(spread: Spread) -> Settings:
    """Return what the control plane and the workers of a fleet share."""
    return {
        "logging": {
            "worker_log_server_port": str(spread.log_port),
            # The user who ships a finished task's log takes it out of its folder.
            "file_task_handler_new_folder_permissions": "0o770",
        },
        "celery": {
            # Flower reads these, not the address (flower/utils/broker.py: RedisSsl).
            "ssl_active": "True",
            "ssl_mutual_tls": "False",
            "ssl_cacert": str(spread.ca_file),
        },
        "dag_processor": {
            # Says of every version of a DAG which release it came from.
            "dag_bundle_config_list": json.dumps(
                [
                    {
                        "name": BUNDLE,
                        "classpath": "airflow_config.release_bundle.ReleaseBundle",
                        "kwargs": {},
                    }
                ]
            ),
            # A run is not bound to the release that it began with: a host has one at a time.
            "disable_bundle_versioning": "True",
        },
    }


def control(spread: Spread) -> Settings:
    """Return what only the control plane needs."""
    return {
        "database": {"sql_alchemy_conn_async": spread.airflow_db_async_url},
        # Behind a proxy on the same host: links and cookies are those of its address.
        "fab": {"enable_proxy_fix": "True"},
    }


def worker(spread: Spread) -> Settings:
    """Return what only workers need."""
    return {"api": {"ssl_ca_file": str(spread.ca_file)}}


def log_server(place: Place) -> Settings:
    """Return the settings of the server of task logs on a worker host.

    It alone on that host has the key by which the API server signs its requests; tasks run under
    another user.
    """
    return {
        "core": {"load_examples": "False", "hostname_callable": "socket.gethostname"},
        "logging": {"base_log_folder": str(place.logs), "colored_console_log": "False"},
        "api": {"secret_key": place.api_secret_key},
    }
