import configparser
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_config import queue_settings, queues, settings
from airflow_config.place import ROOT, Place, Spread

MODEL = """\
queues:
  urgent:
    priority: 9
    task_timeout: 30s
    promise: {end_to_end: 4m, task: 1m, gap: 3s}
    retries: {max_delay: 10s}
  rest: {priority: 1, default: true, task_timeout: 2h, retries: {count: 5, delay: 20s}}
workers:
  urgent: {home: urgent, concurrency: 8, hosts: {min: 1, max: 3}}
  rest: {home: rest, lends_to: [urgent], concurrency: 4}
"""

#: Read by Airflow's code, but described nowhere: setting -> where it is read.
UNDESCRIBED = {
    ("scheduler", "num_stuck_in_queued_retries"): "airflow.jobs.scheduler_job_runner",
}

#: What Airflow and its providers know, and whether what we wrote arrives; in a process of its
#: own, because Airflow reads its settings once.
PROBE = """
import json, sys
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager
import airflow.settings
import airflow_local_settings
manager = ProvidersManager()
manager.initialize_providers_configuration()
known = {section: sorted(found["options"]) for section, found in
         conf.configuration_description.items()}
for _, sections in manager.provider_configs:
    for section, found in sections.items():
        known.setdefault(section, []).extend(found["options"])
from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG as celery
wanted = json.loads(sys.stdin.read())
got = {s: {k: conf.get(s, k) for k in keys} for s, keys in wanted.items()}
json.dump({"known": known, "got": got, "local": airflow_local_settings.__file__,
           "broker": celery["broker_url"], "modules": sorted(sys.modules)}, sys.stdout)
"""


@pytest.fixture(scope="module", params=[False, True], ids=["one-machine", "fleet"])
def place(request, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    spread = Spread(
        ca_file=home / "ca.pem",
        airflow_db_async_url="postgresql+asyncpg://scheduler:d%25b@127.0.0.1:1/airflow",
        log_port=8793,
    )
    return Place(
        home=home,
        root=ROOT,
        queues_file=home / "queues.yaml",
        airflow_home=home / "airflow",
        logs=home / "logs",
        airflow_db_url="postgresql+psycopg://scheduler:d%25b@127.0.0.1:1/airflow",
        broker_url="redis://app:br%40ker@127.0.0.1:1/0",
        result_url="redis://app:br%40ker@127.0.0.1:1/1",
        api_url="http://127.0.0.1:18080",
        api_port=18080,
        fernet_key="ZmVybmV0LWtleS1vZi10aGUtdGVzdHMtMzItYnl0ZXM=",
        jwt_secret="jwt%(secret)s{of}the-tests",
        api_secret_key="api-secret-of-the-tests",
        spread=spread if request.param else None,
    )


@pytest.fixture(scope="module")
def fleet():
    return queues.read(MODEL)


@pytest.fixture(scope="module", params=["control", "worker"])
def role(request):
    return request.param


@pytest.fixture(scope="module")
def wanted(fleet, place, role):
    return settings.airflow_settings(fleet, place, role)


@pytest.fixture(scope="module")
def probe(place, role, wanted):
    config = place.airflow_home / f"{role}.cfg"
    local = place.airflow_home / "config" / "airflow_local_settings.py"
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_text(settings.local_settings_source())
    config.write_text(settings.render_cfg(wanted))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "AIRLANE"))}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps(wanted),
        env={
            **clean,
            "AIRFLOW_HOME": str(place.airflow_home),
            "AIRFLOW_CONFIG": str(config),
            "AIRLANE_HOME": str(place.home),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout[done.stdout.index('{"known"') :])


def test_airflow_knows_every_key(probe, wanted):
    unknown = {
        (section, key)
        for section, values in wanted.items()
        for key in values
        if key not in probe["known"].get(section, ())
    }
    assert unknown <= set(UNDESCRIBED), f"no such setting in this Airflow: {sorted(unknown)}"


def test_what_is_described_nowhere_is_still_read():
    for (_, key), module in UNDESCRIBED.items():
        source = Path(inspect.getfile(__import__("airflow"))).parent.parent
        text = (source / (module.replace(".", "/") + ".py")).read_text()
        assert f'key="{key}"' in text


def test_airflow_reads_back_what_was_written(probe, wanted, place):
    assert probe["got"] == wanted
    assert probe["broker"] == place.broker_url


def test_airflow_loads_the_policies(probe, place):
    assert probe["local"].startswith(str(place.airflow_home / "config"))
    assert "airflow_config.policies" in probe["modules"]


def test_a_worker_has_neither_a_database_nor_a_key(fleet, place):
    text = settings.render_cfg(settings.airflow_settings(fleet, place, "worker"))
    for secret in ("scheduler:d", "fernet", "jwt", "api-secret"):
        assert secret not in text
    assert "/dev/null/" in text


def test_every_secret_of_the_control_plane_arrives(fleet, place):
    parser = configparser.ConfigParser()
    parser.read_string(settings.render_cfg(settings.airflow_settings(fleet, place, "control")))
    assert parser["database"]["sql_alchemy_conn"] == place.airflow_db_url
    assert parser["api_auth"]["jwt_secret"] == place.jwt_secret
    assert parser["core"]["fernet_key"] == place.fernet_key
    assert parser["api"]["secret_key"] == place.api_secret_key


def test_a_value_never_spans_lines():
    with pytest.raises(ValueError, match=r"expected \[api\] host on one line"):
        settings.render_cfg({"api": {"host": "a\n[core]\nexecutor = x"}})


def control(fleet, place, section):
    return settings.airflow_settings(fleet, place, "control")[section]


def test_a_lost_worker_is_noticed_within_30_seconds(fleet, place):
    scheduler = control(fleet, place, "scheduler")
    timeout = int(scheduler["task_instance_heartbeat_timeout"])
    check = int(scheduler["task_instance_heartbeat_timeout_detection_interval"])
    beat = 5  # Airflow's default; the time-out counts from the last one
    assert "min_heartbeat_interval" not in control(fleet, place, "workers")
    assert timeout + check < 30
    assert timeout > 4 * beat


def test_requests_cannot_use_up_the_api_servers_connections(fleet, place):
    # A bound, however high, freezes the API server for 30 s whenever it is reached.
    assert control(fleet, place, "database")["sql_alchemy_max_overflow"] == "-1"


def test_a_worker_that_is_away_costs_no_waiting_task(fleet, place):
    scheduler = control(fleet, place, "scheduler")
    tries = int(scheduler["num_stuck_in_queued_retries"])
    assert tries * int(scheduler["task_queued_timeout"]) >= 6 * 86_400


def test_a_late_message_is_sent_again_before_its_token_is_refused(fleet, place):
    check = float(control(fleet, place, "scheduler")["task_queued_timeout_check_interval"])
    assert 2 * check < float(control(fleet, place, "api_auth")["jwt_leeway"])


@pytest.mark.parametrize(
    ("promise", "seconds"), [("4m", 120), ("1m", 60), ("6h", 600), (None, 600)]
)
def test_a_lost_message_is_sent_again_within_half_the_promise(promise, seconds):
    text = MODEL.replace("end_to_end: 4m", f"end_to_end: {promise}")
    if promise is None:
        text = MODEL.replace("    promise: {end_to_end: 4m, task: 1m, gap: 3s}\n", "")
    assert queue_settings.queued_timeout(queues.read(text)).value == seconds


def test_a_message_stays_hidden_longer_than_the_longest_task(fleet, place):
    options = control(fleet, place, "celery_broker_transport_options")
    assert int(options["visibility_timeout"]) > 2 * 2 * 3600


def test_limits_follow_from_the_model(fleet, place):
    core = control(fleet, place, "core")
    pools = fleet.pool_slots({"urgent": 3, "rest": 1})
    assert int(core["parallelism"]) > sum(pools.values()) + int(
        core["default_pool_task_slot_count"]
    )
    assert int(core["max_active_tasks_per_dag"]) > sum(pools.values())
    assert core["default_task_retry_delay"] == "20"
    assert control(fleet, place, "operators") == {"default_queue": "rest"}


@pytest.mark.parametrize("role", ["control", "worker"])
def test_what_means_nothing_said_is_no_number_of_an_author_s(fleet, place, role):
    # also where policies run that only fill, and in `airlane check`, which has a worker's settings
    core = settings.airflow_settings(fleet, place, role)["core"]
    assert int(core["default_task_retries"]) < 0
    for key in ("max_active_runs_per_dag", "max_active_tasks_per_dag"):
        number = int(core[key])
        assert number > 100, key
        assert number % 10, key
        assert number & (number - 1), key


def test_nothing_listens_beyond_loopback(fleet, place):
    hosts = [
        value
        for values in settings.airflow_settings(fleet, place, "control").values()
        for key, value in values.items()
        if key.endswith("host")
    ]
    assert hosts
    assert set(hosts) == {"127.0.0.1"}


def test_on_one_machine_nothing_of_a_fleet_is_set(fleet, place):
    for role in ("control", "worker"):
        found = settings.airflow_settings(fleet, place, role)
        shown = "ssl_active" in found["celery"], "dag_bundle_config_list" in found["dag_processor"]
        assert shown == (place.spread is not None,) * 2


def test_the_log_server_has_the_key_of_log_requests_and_nothing_else(fleet, place):
    found = settings.airflow_settings(fleet, place, "logs")
    text = settings.render_cfg(found)
    assert found["api"] == {"secret_key": place.api_secret_key}
    for secret in ("scheduler:d", "br%40ker", "fernet", "jwt"):
        assert secret not in text
