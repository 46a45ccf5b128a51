"""The site file: what it may say, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.site import Site, load
from deploy.site_file import SiteError


def test_an_empty_site_is_a_site(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("")
    assert load(file) == Site()


def test_what_it_says_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("ports: {api_server: 8080}\nbroker: {server: /bin/sh}\nlogs: {max_mb: 1}\n")
    site = load(file)
    assert site.ports == {"api_server": 8080}
    assert site.broker.server == Path("/bin/sh")
    assert site.logs.max_mb == 1


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("port: {}\n", 1, "did you mean 'ports'?"),
        ("ports:\n  flour: 80\n", 2, "ports.flour: expected one of api_server, batch_api, "),
        ("ports:\n  flour: 80\n", 2, "found 'flour'; did you mean 'flower'?"),
        ("ports:\n  flower: 70000\n", 2, "at most 65535, found 70000"),
        ("\nports: {flower: 80, broker: 80}\n", 2, "expected ports that differ"),
        ("broker:\n  url: http://x\n", 1, "expected an address like redis://"),
        ("broker: {server: /nothing/here}\n", 1, "found /nothing/here"),
        ("\nbroker: {server: /bin/sh, url: redis://x}\n", 2, "one that runs), found both"),
        ("events:\n  url: redis://x:six/0\n", 1, "expected an address like redis://"),
        ("events:\n  url: redis:///0\n", 1, "expected an address like redis://"),
        ("intake: {stream_days: 1000000}\n", 1, "stream_days: expected a number of at most 36500"),
        ("dags: here\n", 1, "expected an absolute path as dags, found here"),
        ("models: ~/models\n", 1, "expected an absolute path as models, found ~/models"),
        ("models: 1\n", 1, "models: expected a path, found 1"),
        ("ports: {flower: web}\n", 1, "ports.flower: expected a whole number, found 'web'"),
        ("logs: {max_mb: 1.5}\n", 1, "logs.max_mb: expected a whole number, found 1.5"),
        ("logs: {keep: .inf}\n", 1, "logs.keep: expected a number, found inf"),
        ("intake: {stream_days: week}\n", 1, "expected a number, found 'week'"),
        ("intake: {stream_days: 0}\n", 1, "expected a number above 0, found 0"),
        ("intake: {stream_days: .inf}\n", 1, "expected a number of at most 36500.0, found inf"),
        ("events: {server: bin/x}\n", 1, "expected an absolute path as server, found bin/x"),
        ("ports: [\n", 2, "expected valid YAML"),
    ],
)
def test_a_wrong_site_file_is_named_by_line(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(text)
    with pytest.raises(SiteError) as error:
        load(file)
    assert said in str(error.value)
    assert f"{file}:{line}:" in str(error.value)


def test_no_password_is_shown_with_a_wrong_address(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    for address in ("redis://u:open-sesame@x:six/0", "http://u:open-sesame@x/0"):
        file.write_text(f"events: {{url: '{address}'}}\n")
        with pytest.raises(SiteError) as error:
            load(file)
        assert "open-sesame" not in str(error.value)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="No such file"):
        load(tmp_path / "missing.yaml")


def test_what_producers_send_is_bounded_unless_a_site_says_otherwise(tmp_path: Path) -> None:
    assert Site().events.max_memory == 512 * 2**20
    assert Site().broker.max_memory is None
    file = tmp_path / "site.yaml"
    file.write_text("events: {max_memory: 2GiB}\nbroker: {max_memory: 64MiB}\n")
    found = load(file)
    assert (found.events.max_memory, found.broker.max_memory) == (2 * 2**30, 64 * 2**20)
