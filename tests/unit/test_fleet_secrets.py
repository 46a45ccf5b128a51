"""Secrets of a fleet: who gets which, what is said of a missing one, and how they are made."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from airflow_config import accounts
from deploy import logins, passwords
from deploy.fleet import secrets
from tests.fleet_hosts import made


def test_every_name_is_one_that_is_made() -> None:
    needed = {name for names in secrets.NEEDS.values() for name in names}
    assert needed == set(passwords.NAMES)


def test_a_worker_host_gets_no_key_of_the_control_plane() -> None:
    worker = {*secrets.NEEDS["worker"], *secrets.NEEDS["logs"]}
    assert worker == {"airlane_worker", "broker_airflow", "api_secret_key"}
    assert "api_secret_key" not in secrets.NEEDS["worker"], "tasks could read it"


def test_the_service_account_is_airflows() -> None:
    assert logins.SERVICE_ACCOUNT == accounts.INTAKE_USER


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    host = made(tmp_path)
    folder = host.folder / "secrets" / "relay"
    (folder / "airlane_relay").unlink()
    (folder / "events_relay").write_text("short")
    with pytest.raises(secrets.SecretsError) as error:
        host.secrets("relay")
    said = str(error.value)
    assert f"expected the secret {folder}/airlane_relay, found: No such file" in said
    assert f"{folder}/events_relay: expected at least 16 characters, found 5" in said
    assert "Fix: airlane secrets init" in said


def test_what_would_break_an_address_is_refused_and_not_shown(tmp_path: Path) -> None:
    host = made(tmp_path)
    (host.folder / "secrets" / "relay" / "events_relay").write_text("open@sesame/and-more-of-it")
    with pytest.raises(secrets.SecretsError) as error:
        host.secrets("relay")
    assert "expected letters, digits, - and _ only" in str(error.value)
    assert "sesame" not in str(error.value)


def test_a_line_break_at_the_end_is_no_part_of_a_secret(tmp_path: Path) -> None:
    host = made(tmp_path)
    before = host.secrets("worker")
    file = host.folder / "secrets" / "worker" / "airlane_worker"
    file.write_text(file.read_text() + "\n")
    assert host.secrets("worker") == before


def test_all_are_made_and_each_is_its_own() -> None:
    found = yaml.safe_load(secrets.as_yaml({}))["airlane_secrets"]
    assert sorted(found) == secrets.names()
    assert len(set(found.values())) == len(found)
    assert all(secrets._fault(value) is None for value in found.values())


def test_what_is_known_stays() -> None:
    known = {"fernet_key": "the-old-one-of-the-fleet=", "somebody_elses": "stays-too"}
    found = yaml.safe_load(secrets.as_yaml(known))["airlane_secrets"]
    assert known.items() <= found.items()
    assert secrets.unknown(found) == ["somebody_elses"]
