"""The parts of the stack: what each runs, in which order they start, when each is ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_config.queues import Fleet
from deploy import probes, programs, redis_server
from deploy.local import postgres, valkey
from deploy.local.instance import Instance
from deploy.logins import BROKER_ACL
from intake.keys import EVENTS_ACL
from workers import command as worker
from workers import duty

#: Seconds that a worker gets to finish its tasks when the stack is stopped.
WORKER_GRACE = 20

#: Steps of stopping: nothing new comes in or goes out to workers, work ends, its results go out,
#: then what all of them lean on.
_INTAKE_AND_DISPATCH, _WORK, _RESULTS, _API, _REDIS, _DATABASE = range(6)
#: Niceness of what serves the default queue alone (0 is everyone's, 19 the lowest priority).
BATCH_NICENESS = 10
_YIELDING = ("nice", "-n", str(BATCH_NICENESS))


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the stack.

    Parameters
    ----------
    name
        As `airlane status` shows it.
    words
        The command line; empty when the server is somebody else's (the site file names it).
    ready
        Says whether it does its work now, given when it was started (seconds since the epoch):
        what it left behind in an earlier life does not count.
    environment
        Variables beside those of every part.
    stage
        Parts of a stage start together once those of the stage before are ready.
    stop_order
        Lower ones stop first; those of one number stop together.
    grace
        Seconds between the request to stop and the kill.
    stop_signal
        By which it stops in good order.
    url
        Where a person or a client finds it, if anywhere.
    """

    name: str
    words: list[str]
    ready: Callable[[float], bool] = field(repr=False)
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    stage: int
    stop_order: int
    grace: int = 10
    stop_signal: str = "TERM"
    url: str | None = None


def _when(probe: Callable[..., bool], *arguments: Any) -> Callable[[float], bool]:
    return lambda _since: probe(*arguments)


def parts(instance: Instance, fleet: Fleet) -> list[Part]:
    """Return every part of the stack in the order of starting."""
    return [
        *_servers(instance),
        _api_server(instance),
        *_batch_api(instance),
        *_control(instance),
        _relay(instance),
        *_workers(instance, fleet),
        _flower(instance),
    ]


def prepare_servers(instance: Instance) -> None:
    """Make the servers' folders and settings, before they start."""
    keys = instance.keys
    postgres.initialise(instance.folder / "postgres", keys["postgres"])
    site = instance.site
    servers = (("broker", BROKER_ACL, site.broker), ("events", EVENTS_ACL, site.events))
    for name, logins, server in servers:
        valkey.write_config(
            instance.folder / name,
            instance.port(name),  # type: ignore[arg-type]  # both are names of ports
            logins=logins,
            passwords={login: keys[f"{name}_{login}"] for login in logins},
            fsync=redis_server.FSYNC[name],
            max_memory=server.max_memory,
        )


def _servers(instance: Instance) -> list[Part]:
    port = instance.port("postgres")
    found = [
        Part(
            name="postgres",
            words=postgres.command(instance.folder / "postgres", port),
            ready=_when(postgres.answers, port, instance.keys["postgres"]),
            stage=0,
            stop_order=_DATABASE,
            grace=30,
            # fast shutdown: open connections are closed, nothing is lost
            stop_signal="INT",
            url=f"postgresql://127.0.0.1:{port}",
        )
    ]
    sites = {"broker": instance.site.broker, "events": instance.site.events}
    addresses = {
        "broker": instance.broker_url("operator"),
        "events": instance.events_url("operator"),
    }
    for name, site in sites.items():
        binary = site.server or valkey.binary()
        config = instance.folder / name / "server.conf"
        found.append(
            Part(
                name=name,
                words=[] if site.url else [str(binary), str(config)],
                ready=_when(valkey.answers, addresses[name]),
                stage=0,
                stop_order=_REDIS,
                url=_without_login(addresses[name]),
            )
        )
    return found


def _without_login(address: str) -> str:
    found = urlsplit(address)
    return found._replace(netloc=found.netloc.rpartition("@")[2]).geturl()


def _api_server(instance: Instance) -> Part:
    return Part(
        name="api-server",
        words=programs.api_server(instance.port("api_server")),
        environment=instance.environment("api-server", "control"),
        ready=_when(probes.api_server_answers, instance.api_url),
        stage=1,
        stop_order=_API,
        url=instance.api_url,
    )


def _batch_api(instance: Instance) -> list[Part]:
    # Calls share their server's one interpreter: many of batch tasks held up the urgent ones.
    if instance.batch_api_url is None:
        return []  # what runs was started by a release that had none
    port = instance.port("batch_api")
    part = Part(
        name="batch-api",
        words=[*_YIELDING, *programs.api_server(port, only_execution=True)],
        environment={
            **instance.environment("batch-api", "control"),
            **programs.ONLY_EXECUTION,
        },
        ready=_when(probes.execution_api_answers, instance.batch_api_url),
        stage=1,
        stop_order=_API,
        url=instance.batch_api_url,
    )
    return [part]


def _control(instance: Instance) -> list[Part]:
    secrets = {"triggerer": "intake"}
    return [
        Part(
            name=name,
            words=programs.job(name),
            environment=instance.environment(name, "control", secrets.get(name)),
            ready=partial(probes.job_beats, instance.api_url, name),
            stage=2,
            stop_order=_INTAKE_AND_DISPATCH,
        )
        for name in programs.JOBS
    ]


def _relay(instance: Instance) -> Part:
    heartbeat = instance.run / "relay.heartbeat"
    return Part(
        name="relay",
        words=programs.relay(heartbeat),
        environment=instance.environment("relay", "worker", "relay"),
        ready=partial(probes.relay_beats, heartbeat),
        stage=2,
        stop_order=_RESULTS,
    )


def off_duty(instance: Instance, name: str) -> Path:
    """Return the file that keeps a worker from taking work while it is there."""
    return instance.run / f"{name}.off-duty"


def worker_environment(instance: Instance, name: str) -> dict[str, str]:
    """Return the variables of a worker."""
    found = {**instance.environment(name, "worker", "worker"), **programs.ONE_THREAD}
    found[duty.VARIABLE] = str(off_duty(instance, name))
    if instance.batch_api_url is not None:
        found["AIRLANE_BATCH_API"] = f"{instance.batch_api_url}/execution/"
    return found


def worker_words(fleet: Fleet, class_name: str, name: str) -> list[str]:
    """Return the command line of a worker beside others on one machine."""
    # All classes share the cores: the default queue's gives way.
    batch = fleet.workers[class_name].home == fleet.default_queue.name
    return [*(_YIELDING if batch else ()), *worker.worker_command(fleet, class_name, name)]


def _workers(instance: Instance, fleet: Fleet) -> list[Part]:
    found = []
    for class_name, worker_class in fleet.workers.items():
        for number in range(1, worker_class.local + 1):
            name = worker.part_name(class_name, number)
            found.append(
                Part(
                    name=name,
                    words=worker_words(fleet, class_name, name),
                    environment=worker_environment(instance, name),
                    ready=_when(probes.worker_consumes, instance.broker_url(), name),
                    stage=2,
                    stop_order=_WORK,
                    grace=WORKER_GRACE,
                )
            )
    return found


def _flower(instance: Instance) -> Part:
    # After the workers: Flower asks once, when it starts, which queues they serve.
    return Part(
        name="flower",
        words=programs.flower(instance.run / "flower.py"),
        environment=instance.environment("flower", "worker"),
        ready=_when(probes.flower_answers, instance.flower_url),
        stage=3,
        stop_order=_INTAKE_AND_DISPATCH,
        url=instance.flower_url,
    )
