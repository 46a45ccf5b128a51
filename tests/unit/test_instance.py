"""An instance: its folder, ports and keys, and what is said when they are not as they should be."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from airflow_config import accounts
from deploy.files import write_private
from deploy.local import instance as module
from deploy.local.instance import Instance, InstanceError
from deploy.local.ports import free_port
from deploy.local.site import PORT_NAMES, EventsServer, RedisServer, Site
from deploy.site_file import Intake, SiteError
from intake.settings import IntakeSettings


def make(folder: Path, site: Site | None = None) -> Instance:
    made = Instance(folder, site or Site())
    made.create()
    return made


def test_ports_and_keys_stay(tmp_path: Path) -> None:
    first = make(tmp_path / "home")
    again = make(tmp_path / "home")
    assert first.state() == again.state()
    assert dict(first.keys) == dict(again.keys)
    assert set(first.state()["ports"]) == set(PORT_NAMES)
    assert len(set(first.state()["ports"].values())) == len(PORT_NAMES)


def test_what_is_secret_is_private(tmp_path: Path) -> None:
    made = make(tmp_path / "home")
    for path in (made.folder / "secrets").rglob("*"):
        allowed = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == allowed, path
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(made.state_file.stat().st_mode) == 0o600
    assert not list(made.folder.rglob(".*")), "no temporary file is left"


def test_a_worker_gets_no_secret_but_its_own_login(tmp_path: Path) -> None:
    made = make(tmp_path / "home")
    assert [path.name for path in made.secrets_folder("worker").iterdir()] == ["app_db_url"]
    found = (made.secrets_folder("worker") / "app_db_url").read_text()
    assert made.keys["airlane_worker"] in found
    others = {name: key for name, key in made.keys.items() if name != "airlane_worker"}
    assert not [name for name, key in others.items() if key in found]


def test_the_listener_has_a_database_login_of_its_own_also_in_an_older_instance(
    tmp_path: Path,
) -> None:
    keys_file = make(tmp_path / "home").folder / "secrets" / "keys.json"
    older = json.loads(keys_file.read_text())
    del older["airlane_intake"]
    keys_file.write_text(json.dumps(older))
    (tmp_path / "home" / "secrets" / "intake" / "app_db_url").unlink()
    made = make(tmp_path / "home")
    assert {**made.keys, **older} == made.keys
    found = (made.secrets_folder("intake") / "app_db_url").read_text()
    assert f"//airlane_intake:{made.keys['airlane_intake']}@" in found


def test_the_intakes_account_is_the_one_that_is_made(tmp_path: Path) -> None:
    made = make(tmp_path / "home")
    for role in ("intake", "operator"):
        assert (made.secrets_folder(role) / "api_user").read_text() == accounts.INTAKE_USER


def test_a_port_that_somebody_took_is_replaced_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make(tmp_path / "home").state()["ports"]
    taken = before["broker"]
    monkeypatch.setattr(module, "is_free", lambda port: port != taken)
    made = make(tmp_path / "home")
    after = made.state()["ports"]
    assert after["broker"] != taken
    assert {name: port for name, port in after.items() if port != after["broker"]} == {
        name: port for name, port in before.items() if port != taken
    }
    assert str(after["broker"]) in made.broker_url()


def test_a_port_of_the_site_file_that_is_taken_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_free", lambda _port: False)
    with pytest.raises(InstanceError, match=r"port 8080 .* for flower .*ports\.flower.*Fix:"):
        make(tmp_path / "home", Site(ports={"flower": 8080}))


def test_a_port_of_the_site_file_is_no_other_parts(tmp_path: Path) -> None:
    kept = make(tmp_path / "home").state()["ports"]["postgres"]
    ports = make(tmp_path / "home", Site(ports={"flower": kept})).state()["ports"]
    assert ports["flower"] == kept
    assert len(set(ports.values())) == len(ports)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "expected JSON"), ("[]", "expected a JSON object"), ("", "expected JSON")],
)
def test_a_damaged_state_is_named_with_a_way_out(tmp_path: Path, text: str, said: str) -> None:
    made = make(tmp_path / "home")
    made.state_file.write_text(text)
    with pytest.raises(InstanceError, match=said) as raised:
        make(tmp_path / "home")
    assert str(made.state_file) in str(raised.value)
    assert "Fix: airlane down, delete that file, airlane up" in str(raised.value)
    # and the way out is one
    made.state_file.unlink()
    assert set(make(tmp_path / "home").state()["ports"]) == set(PORT_NAMES)


@pytest.mark.parametrize(
    "content", [{}, {"ports": {}}, {"ports": None}, {"ports": {"broker": "x"}}]
)
def test_a_port_that_is_missing_is_named(tmp_path: Path, content: dict[str, object]) -> None:
    made = make(tmp_path / "home")
    made.state_file.write_text(json.dumps(content))
    with pytest.raises(InstanceError, match="expected a port of broker"):
        made.port("broker")


def test_lost_keys_are_not_replaced(tmp_path: Path) -> None:
    file = make(tmp_path / "home").folder / "secrets" / "keys.json"
    file.unlink()
    with pytest.raises(InstanceError, match=r"restore it from a backup, or .*airlane reset"):
        make(tmp_path / "home")
    assert not file.exists()
    file.write_text("{")
    with pytest.raises(InstanceError, match="expected JSON"):
        make(tmp_path / "home")


def test_an_interrupted_creation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Instance(tmp_path / "home", Site())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Instance, "_choose_ports", interrupt)
        with pytest.raises(KeyboardInterrupt):
            made.create()
    assert not made.exists, "an instance that exists has ports and keys"
    before = json.loads((made.folder / "secrets" / "keys.json").read_text())
    assert dict(make(tmp_path / "home").keys) == before


@pytest.mark.parametrize(
    "name", ["it's", 'a "b"', "a\\b", "a #b", "a ;b", "a\nb", "a\tb"], ids=repr
)
def test_a_folder_that_settings_files_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InstanceError, match=r"expected a path without .* Fix: another folder"):
        make(tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["a b", "100%", "a,b=c", "a#b;c", "grüße", "$HOME", "{x}"])
def test_any_other_folder_is_taken(tmp_path: Path, name: str) -> None:
    assert make(tmp_path / name).exists


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    write_private(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(file, "new \ud800")
    assert file.read_text() == "old"


def test_servers_of_the_site_are_used(tmp_path: Path) -> None:
    site = Site(broker=RedisServer(url="redis://b/0"), events=EventsServer(url="rediss://u:p@e/1"))
    made = make(tmp_path / "home", site)
    assert made.broker_url("operator") == "redis://b/0"
    assert (made.secrets_folder("relay") / "events_url").read_text() == "rediss://u:p@e/1"
    assert made.place().result_url == "redis://b/0"


def test_no_key_is_shown_by_accident(tmp_path: Path) -> None:
    made = make(tmp_path / "home", Site(events=EventsServer(url="redis://u:open-sesame@e/1")))
    shown = repr(made) + repr(made.place())
    assert "open-sesame" not in shown
    assert not [name for name, key in made.keys.items() if key in shown]


def test_a_parts_environment_names_its_role(tmp_path: Path) -> None:
    made = make(tmp_path / "home")
    found = made.environment("worker-batch", "worker", "worker")
    assert found["AIRFLOW_CONFIG"] == str(made.airflow_config("worker"))
    assert found["AIRLANE_SECRETS"] == str(made.secrets_folder("worker"))
    assert "AIRLANE_SECRETS" not in made.environment("scheduler", "control")
    assert found["AIRLANE_QUEUES"] == str(made.started_queues), "not the file that is edited"


def test_the_site_files_limits_reach_the_parts(tmp_path: Path) -> None:
    site = Site(intake=Intake(stream_days=30, requests=4, active_runs=9), models=tmp_path / "m")
    found = make(tmp_path / "home", site).environment("triggerer", "control", "intake")
    assert (tmp_path / "m").is_dir()
    assert found["AIRLANE_MODELS"] == str(tmp_path / "m")
    settings = {name: value for name, value in found.items() if name.startswith("AIRLANE_")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        read = IntakeSettings()
    assert (read.stream_days, read.intake_requests, read.intake_active_runs) == (30, 4, 9)


def test_a_dag_folder_of_the_site_reaches_every_part(tmp_path: Path) -> None:
    name = "AIRFLOW__CORE__DAGS_FOLDER"
    made = make(tmp_path / "home", Site(dags=tmp_path))
    assert made.environment("dag-processor", "control")[name] == str(tmp_path)
    assert made.environment("worker-batch", "worker", "worker")[name] == str(tmp_path)
    other = make(tmp_path / "other")
    assert name not in other.environment("dag-processor", "control")


def test_a_dag_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="expected a folder of DAG files, found none at"):
        make(tmp_path / "home", Site(dags=tmp_path / "gone"))


@pytest.mark.parametrize("name", ['m"', "m ;n"])
def test_a_folder_that_settings_files_cannot_hold_stops_the_start(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(InstanceError, match="expected a path without quotes"):
        make(tmp_path / "home", Site(models=tmp_path / name))


def test_a_broken_site_file_hinders_nobody_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site.yaml"
    monkeypatch.setenv("AIRLANE_SITE", str(file))
    monkeypatch.setenv("AIRLANE_HOME", str(tmp_path / "home"))
    site = Site(intake=Intake(requests=4), models=tmp_path / "m")
    made = make(tmp_path / "home", site)
    made.update_state(site=site.model_dump(mode="json", exclude_defaults=True))
    file.write_text("prots: 1")
    assert module.started().site == site
    with pytest.raises(SiteError):
        module.current()


def test_a_server_that_is_gone_hinders_nobody_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRLANE_SITE", str(tmp_path / "none"))
    monkeypatch.setenv("AIRLANE_HOME", str(tmp_path / "home"))
    server = tmp_path / "redis-server"
    server.touch(mode=0o755)
    site = Site(broker=RedisServer(server=server))
    made = make(tmp_path / "home", site)
    made.update_state(site=site.model_dump(mode="json", exclude_defaults=True))
    server.unlink()
    assert module.started().site.broker.server == server


def test_ports_are_below_those_of_outgoing_connections() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = {free_port() for _ in range(20)}
    assert first <= 16_000 or max(ports) < first
    assert min(ports) >= 1024
    assert free_port(besides=ports) not in ports
