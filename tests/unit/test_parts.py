"""The parts of the stack: what there is, what each may know, and how it ends."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from airflow_config import queues
from airflow_config.place import queues_file
from deploy.local import parts as module
from deploy.local.instance import Instance, started_fleet
from deploy.local.parts import Part, parts
from deploy.local.site import EventsServer, RedisServer, Site

FLEET = queues.load()
#: What must be gone before something else may go, each way.
BEFORE = [
    ("triggerer", "worker-onboarding"),
    ("scheduler", "worker-batch"),
    ("worker-batch", "relay"),
    ("worker-onboarding", "relay"),
    ("relay", "events"),
    ("relay", "postgres"),
    ("worker-batch", "api-server"),
    ("worker-batch", "broker"),
    ("worker-batch", "batch-api"),
    ("api-server", "postgres"),
    ("batch-api", "postgres"),
    ("events", "postgres"),
]


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = Instance(tmp_path / "home", Site())
    made.create()
    return made


@pytest.fixture
def found(instance: Instance) -> dict[str, Part]:
    return {part.name: part for part in parts(instance, FLEET)}


def test_names_are_those_that_programs_rely_on(found: dict[str, Part]) -> None:
    workers = [f"worker-{name}" for name in FLEET.workers]
    assert set(found) == {
        *("postgres", "broker", "events", "api-server", "batch-api", "scheduler"),
        *("dag-processor", "triggerer", "relay", *workers, "flower"),
    }


def test_stages_follow_each_other(instance: Instance) -> None:
    stages = [stage for stage, _ in groupby(parts(instance, FLEET), key=lambda part: part.stage)]
    assert stages == sorted(set(stages))


@pytest.mark.parametrize(("first", "then"), BEFORE)
def test_parts_stop_before_what_they_lean_on(found: dict[str, Part], first: str, then: str) -> None:
    assert found[first].stop_order < found[then].stop_order


def test_workers_get_their_grace(found: dict[str, Part]) -> None:
    assert {found[f"worker-{name}"].grace for name in FLEET.workers} == {20}


def test_who_knows_which_secrets(found: dict[str, Part]) -> None:
    known = {
        name: Path(part.environment["AIRLANE_SECRETS"]).name
        for name, part in found.items()
        if "AIRLANE_SECRETS" in part.environment
    }
    workers = dict.fromkeys((f"worker-{name}" for name in FLEET.workers), "worker")
    assert known == {"triggerer": "intake", "relay": "relay", **workers}


def test_no_key_is_on_a_command_line_or_in_an_environment(
    instance: Instance, found: dict[str, Part]
) -> None:
    for part in found.values():
        shown = " ".join([*part.words, *part.environment.values(), part.url or ""])
        assert not [name for name, key in instance.keys.items() if key in shown], part.name


def test_nothing_listens_beyond_loopback(found: dict[str, Part]) -> None:
    for name in ("api-server", "batch-api"):
        words = found[name].words
        assert words[words.index("--host") + 1] == "127.0.0.1", name
    for name in ("scheduler", "triggerer", *(f"worker-{name}" for name in FLEET.workers)):
        assert "--skip-serve-logs" in found[name].words, name
    assert {part.url.split("//")[1].split(":")[0] for part in found.values() if part.url} == {
        "127.0.0.1"
    }


def test_airflow_knows_every_command(found: dict[str, Part]) -> None:
    from airflow.cli.cli_parser import get_parser

    for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
        assert get_parser().parse_args(found[name].words[3:]).subcommand == name
    words = found["batch-api"].words
    known = get_parser().parse_args(words[words.index("api-server") :])
    assert known.apps == found["batch-api"].environment["AIRFLOW_API_APPS"] == "execution"


def test_only_those_without_a_promise_give_way(found: dict[str, Part]) -> None:
    assert found["worker-batch"].words[:3] == ["nice", "-n", str(module.BATCH_NICENESS)]
    assert found["batch-api"].words[:3] == ["nice", "-n", str(module.BATCH_NICENESS)]
    for name in ("worker-onboarding", "api-server"):
        assert found[name].words[0] != "nice", name


def test_workers_know_the_api_of_batch_tasks(found: dict[str, Part], instance: Instance) -> None:
    for name in FLEET.workers:
        address = found[f"worker-{name}"].environment["AIRLANE_BATCH_API"]
        assert address == f"http://127.0.0.1:{instance.port('batch_api')}/execution/"


def test_a_foreign_server_is_not_started_and_shows_no_password(tmp_path: Path) -> None:
    url = "rediss://u:open-sesame@events.example:6380/2"
    made = Instance(tmp_path / "home", Site(events=EventsServer(url=url)))
    made.create()
    events = next(part for part in parts(made, FLEET) if part.name == "events")
    assert events.words == []
    assert events.url == "rediss://events.example:6380/2"


def test_a_named_binary_is_run(tmp_path: Path) -> None:
    made = Instance(tmp_path / "home", Site(broker=RedisServer(server=Path("/bin/true"))))
    made.create()
    broker = next(part for part in parts(made, FLEET) if part.name == "broker")
    assert broker.words == ["/bin/true", str(made.folder / "broker" / "server.conf")]


def test_the_model_that_runs_is_the_one_of_the_start(instance: Instance) -> None:
    assert started_fleet(instance) == FLEET
    text = queues_file().read_text()
    instance.started_queues.write_text(text.replace("concurrency: 2", "concurrency: 3"))
    assert started_fleet(instance).workers["control"].concurrency == 3


def test_what_an_older_release_started_has_no_batch_api(instance: Instance) -> None:
    ports = instance.state()["ports"]
    del ports["batch_api"]
    instance.update_state(ports=ports)
    found = {part.name: part for part in parts(instance, FLEET)}
    assert "batch-api" not in found
    assert "AIRLANE_BATCH_API" not in found["worker-batch"].environment
