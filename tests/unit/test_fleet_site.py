"""The site file of a fleet's host: what it may say, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.fleet.site import FOLDER, load
from deploy.site_file import SiteError
from tests.fleet_hosts import site_text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(site_text(tmp_path))
    return path


def test_what_it_says_is_taken(file: Path) -> None:
    site = load(file.parent)
    assert site.address == "127.0.0.1"
    assert site.metadata_db.port == 5432
    assert site.app_db.port == 5433
    assert site.events.max_memory == 512 * 2**20
    assert site.logs.keepers == ("c1.example", "c2.example")


def test_what_it_does_not_say_is_usual(tmp_path: Path) -> None:
    lines = site_text(tmp_path).splitlines()
    (tmp_path / "site.yaml").write_text("\n".join(lines[:6]) + "\n")
    site = load(tmp_path)
    assert site.folders.state == Path("/var/lib/airlane")
    assert site.tls.ca == FOLDER / "tls" / "ca.pem"
    assert site.logs.keepers == ()
    assert site.intake.requests == 16


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("address: 127.0.0.1", "adress: 127.0.0.1", 1, "did you mean 'address'?"),
        ("address: 127.0.0.1", "address: w3 -x", 1, "address: expected text that matches"),
        ("{host: db.example}", "{port: 5432}", 3, "metadata_db.host: expected a value"),
        ("{host: redis.example}", "{host: redis.example, port: 70000}", 5, "at most 65535"),
        ("{host: redis.example}", "{host: redis.example, port: 6380}", 1, "two servers as broker"),
        ('https://airflow.example"', 'http://airflow.example"', 2, "like https://airflow"),
        ('https://airflow.example"', 'https://airflow.example/x"', 2, "nor path"),
        ("keepers: [c1", "keeper: [c1", 8, "did you mean 'keepers'?"),
        ("keepers: [c1.example", "keepers: ['-oProxyCommand=x'", 8, "keepers.0: expected text"),
    ],
)
def test_a_wrong_site_file_is_named_by_line(
    file: Path, old: str, new: str, line: int, said: str
) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(SiteError) as error:
        load(file.parent)
    assert said in str(error.value)
    assert f"{file}:{line}:" in str(error.value)


def test_all_faults_are_told_at_once(file: Path) -> None:
    file.write_text("address: w3\napi: {url: ftp://x}\nbroker: {}\n")
    with pytest.raises(SiteError) as error:
        load(file.parent)
    for said in ("metadata_db", "events", "broker.host", "api"):
        assert said in str(error.value)


def test_no_password_is_shown_with_a_wrong_address(file: Path) -> None:
    text = file.read_text()
    file.write_text(text.replace('https://airflow.example"', 'https://u:open-sesame@x"', 1))
    with pytest.raises(SiteError) as error:
        load(file.parent)
    assert "open-sesame" not in str(error.value)


def test_paths_are_absolute(file: Path) -> None:
    text = file.read_text().replace(f"state: {file.parent}/state", "state: here")
    file.write_text(text)
    with pytest.raises(SiteError, match="expected an absolute path as state, found here"):
        load(file.parent)


def test_a_host_without_one_is_told_where_it_is_expected(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"site\.yaml \(AIRLANE_FLEET\), found: No such file"):
        load(tmp_path)
