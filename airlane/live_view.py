"""A view that is shown once, or again and again until Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from airlane.output import console, errors, print_json

#: Seconds between looks, where none are named; and the fewest.
EVERY, FEWEST = 2.0, 0.5

WatchFlag = Annotated[
    bool,
    typer.Option("--watch", "-w", help=f"Look again every SECONDS ({EVERY:g}), until Ctrl-C."),
]
Seconds = Annotated[
    float | None, typer.Argument(metavar="[SECONDS]", help="Between two looks, with --watch.")
]

Seen = TypeVar("Seen")


def interval(watch: bool, every: float | None) -> float | None:
    """Return the seconds between looks; None to look once."""
    if not watch:
        if every is not None:
            raise typer.BadParameter("expected --watch with it, found none", param_hint="SECONDS")
        return None
    if every is not None and not FEWEST <= every <= 3600:
        raise typer.BadParameter(
            f"expected {FEWEST:g} to 3600 seconds, found {every:g}", param_hint="SECONDS"
        )
    return EVERY if every is None else every


def show(
    look: Callable[[], Seen],
    view: Callable[[Seen], RenderableType],
    to_json: Callable[[Seen], object],
    *,
    every: float | None,
    json: bool,
) -> Seen:
    """Look once, or again and again, and show what is seen.

    On a terminal the view is drawn anew in its place; elsewhere each look is a block of lines, as
    JSON a line. A look that fails later does not end it: a part that is watched may be away for a
    moment, and the next look follows. On a terminal what was seen before stays, below the reason;
    elsewhere standard error has the reason, and nothing old is printed as if it were new.

    Parameters
    ----------
    look, view, to_json
        How it is looked, and how what was seen is shown to people and to programs.
    every
        Seconds between looks; None: once.
    json
        For programs.

    Returns
    -------
    Seen
        What was seen, when it was looked once.

    Raises
    ------
    typer.Exit
        With 130, when Ctrl-C ended it.
    """
    seen = look()
    if every is None:
        _print(seen, view, to_json, json=json)
        return seen
    try:
        if json or not console.is_terminal:
            _go_on(look, seen, every, lambda new, trouble: _log(new, trouble, view, to_json, json))
        else:
            with Live(console=console, screen=True, auto_refresh=False) as live:
                _go_on(
                    look,
                    seen,
                    every,
                    lambda new, trouble: live.update(
                        Group(_header(every, trouble), view(new)), refresh=True
                    ),
                )
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise AssertionError("it ends by Ctrl-C only")


def _go_on(
    look: Callable[[], Seen],
    seen: Seen,
    every: float,
    shown: Callable[[Seen, str], object],
) -> None:
    pause = threading.Event()
    trouble = ""
    while True:
        shown(seen, trouble)
        pause.wait(every)
        try:
            seen, trouble = look(), ""
        except Exception as error:  # whatever a server that is away makes of it
            trouble = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _print(
    seen: Seen,
    view: Callable[[Seen], RenderableType],
    to_json: Callable[[Seen], object],
    *,
    json: bool,
) -> None:
    if json:
        print_json(to_json(seen))
    else:
        console.print(view(seen))


def _log(
    seen: Seen,
    trouble: str,
    view: Callable[[Seen], RenderableType],
    to_json: Callable[[Seen], object],
    json: bool,
) -> None:
    if trouble:
        errors.print(f"airlane: the last look failed: {trouble}", markup=False, soft_wrap=True)
    else:
        _print(seen, view, to_json, json=json)


def _header(every: float, trouble: str) -> Text:
    at = datetime.now(UTC)
    text = Text(f"{at:%Y-%m-%d %H:%M:%S} UTC, every {every:g} s; Ctrl-C ends\n", style="dim")
    if trouble:
        text.append(f"the last look failed, what is shown is older: {trouble}\n", style="red")
    return text
