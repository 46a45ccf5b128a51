"""Celery's configuration: every key is one that the installed Celery and kombu know."""

from __future__ import annotations

import pytest
from celery.app import defaults
from celery.utils.imports import symbol_by_name
from celery.worker.request import Request
from kombu.transport import redis as kombu_redis

from airflow_config import queues
from workers.celery_config import CELERY_CONFIG, WORKER_CLASS
from workers.celery_settings import transport_options
from workers.class_facts import preloaded
from workers.preload import ALWAYS, import_all

FLEET = queues.load()


def test_celery_knows_every_setting() -> None:
    unknown = set(CELERY_CONFIG) - {name for name, _ in defaults.flatten(defaults.NAMESPACES)}
    assert not unknown, f"Celery knows no setting {sorted(unknown)}: it would do nothing"


@pytest.mark.parametrize("worker_class", [None, *FLEET.workers])
def test_kombu_knows_every_transport_option(worker_class: str | None) -> None:
    known = set(kombu_redis.Channel.from_transport_options)
    unknown = set(transport_options(worker_class)) - known
    assert not unknown, f"kombu knows no transport option {sorted(unknown)}: it would do nothing"


def test_classes_do_not_share_the_keys_of_what_is_not_acknowledged() -> None:
    taken = [
        value
        for name in FLEET.workers
        for key, value in transport_options(name).items()
        if key.startswith("unacked")
    ]
    assert len(taken) == 3 * len(FLEET.workers) == len(set(taken))


def test_the_scheduler_and_flower_are_of_no_class() -> None:
    assert WORKER_CLASS is None, "AIRLANE_PART of the caller must not reach the tests"
    assert transport_options(None) == {}


def test_airflows_own_settings_stay() -> None:
    from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

    assert {**DEFAULT_CELERY_CONFIG, **CELERY_CONFIG} == CELERY_CONFIG
    options = DEFAULT_CELERY_CONFIG["broker_transport_options"]
    assert options.items() <= CELERY_CONFIG["broker_transport_options"].items()


def test_no_event_carries_the_arguments_as_they_are() -> None:
    assert CELERY_CONFIG["task_send_sent_event"] is False


def test_inspect_shows_the_description_of_the_arguments() -> None:
    found = symbol_by_name(CELERY_CONFIG["task_annotations"]["*"]["Request"])
    assert issubclass(found, Request)
    assert found.info is not Request.info


def test_what_is_preloaded_can_be_imported() -> None:
    assert import_all([*ALWAYS, *preloaded(FLEET, "batch")]) == []


def test_lent_capacity_is_as_warm_as_the_works_own_class() -> None:
    assert set(FLEET.workers["onboarding"].preload) <= set(preloaded(FLEET, "batch"))
    assert set(preloaded(FLEET, "control")) <= set(FLEET.workers["control"].preload)


def test_a_module_that_is_missing_is_named() -> None:
    (said,) = import_all(["json", "no_such_module_of_ours"])
    assert said.startswith("no_such_module_of_ours (ModuleNotFoundError")
