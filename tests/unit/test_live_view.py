"""A view that is shown again and again: until Ctrl-C, whatever happens in between."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator

import pytest
import typer
from rich.console import Console

from airlane import live_view, output
from airlane.cli import app

LOOKS = 3


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Go on without waiting; after three looks somebody presses Ctrl-C. Gives the pauses."""
    pauses: list[float] = []

    def wait(_: threading.Event, seconds: float) -> bool:
        pauses.append(seconds)
        if len(pauses) == LOOKS:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(threading.Event, "wait", wait)
    return pauses


def shown(
    numbers: Iterator[int | Exception], *, every: float | None = 2, json: bool = False
) -> int:
    """Show numbers one after the other; return the exit code."""

    def look() -> int:
        found = next(numbers)
        if isinstance(found, Exception):
            raise found
        return found

    with pytest.raises(typer.Exit) as ended:
        live_view.show(look, lambda n: f"number {n}", lambda n: {"n": n}, every=every, json=json)
    return ended.value.exit_code


def test_without_watch_it_is_shown_once(capsys) -> None:
    seen = live_view.show(lambda: 7, str, lambda n: n, every=None, json=False)
    assert (seen, capsys.readouterr().out) == (7, "7\n")


def test_where_there_is_no_terminal_each_look_is_a_block(looks, capsys) -> None:
    assert shown(iter([1, 2, 3])) == 130
    assert capsys.readouterr().out == "number 1\nnumber 2\nnumber 3\n"
    assert looks == [2, 2, 2]


def test_for_programs_each_look_is_a_line(looks, capsys) -> None:
    assert shown(iter([1, 2, 3]), json=True) == 130
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_later_look_that_fails_shows_what_was_seen_before(looks, monkeypatch) -> None:
    terminal = Console(
        file=io.StringIO(), force_terminal=True, width=80, height=20, highlight=False
    )
    monkeypatch.setattr(live_view, "console", terminal)
    assert shown(iter([1, ConnectionError("gone\nwith details"), 3])) == 130
    said = terminal.file.getvalue()
    for part in ("number 1", "what is shown is older: ConnectionError: gone", "number 3"):
        assert part in said
    assert "with details" not in said
    # the terminal gets its own page back, and its cursor
    assert said.endswith("\x1b[?1049l\x1b[?25h") or "\x1b[?1049l" in said


@pytest.mark.parametrize("json", [False, True])
def test_where_there_is_no_terminal_nothing_old_is_shown_as_new(looks, capsys, json: bool) -> None:
    assert shown(iter([1, ConnectionError("gone\nwith details"), 3]), json=json) == 130
    said = capsys.readouterr()
    expected = '{"n": 1}\n{"n": 3}\n' if json else "number 1\nnumber 3\n"
    assert said.out == expected
    assert said.err == "airlane: the last look failed: ConnectionError: gone\n"


def test_a_first_look_that_fails_is_told_as_always(looks) -> None:
    def look() -> int:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        live_view.show(look, str, str, every=2, json=False)


@pytest.mark.parametrize(
    ("watch", "every", "found"), [(False, None, None), (True, None, 2), (True, 5.0, 5)]
)
def test_the_pause_between_looks(watch: bool, every: float | None, found: float | None) -> None:
    assert live_view.interval(watch, every) == found


@pytest.mark.parametrize(("watch", "every"), [(False, 5), (True, 0.1), (True, 4000)])
def test_a_pause_that_makes_no_sense_is_refused(watch: bool, every: float) -> None:
    with pytest.raises(typer.BadParameter, match="expected"):
        live_view.interval(watch, every)


@pytest.mark.parametrize("name", ["queues", "workers", "status"])
def test_commands_take_it(name: str) -> None:
    command = typer.main.get_command(app).get_command(None, name)
    names = {name for parameter in command.params for name in parameter.opts}
    assert {"--watch", "every", "--json"} <= names


def test_the_console_is_the_one_of_all_commands() -> None:
    assert live_view.console is output.console
