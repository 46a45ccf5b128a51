"""What commands print: tables for people, JSON for programs, errors on standard error."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # rich would end the program with 1
        raise BrokenPipeError


#: For people; drops colours by itself when it is not a terminal.
console = _Console(highlight=False, width=None if sys.stdout.isatty() else 120)
errors = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, in its own letters where standard output takes them."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # another character set, or half a surrogate pair that a producer sent
        text = json.dumps(value)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_progress(line: str) -> None:
    """Print a line of progress on long work."""
    console.print(f"  {line}", markup=False, soft_wrap=True)


def seconds(value: float | None) -> str:
    """Show a duration as people read it."""
    if value is None:
        return "-"
    if round(value, 1) < 100:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def decision_line(decision: dict[str, Any]) -> str:
    """Return one line for people about an event and what was decided, if it was."""
    score = "" if decision["score"] is None else f" risk {decision['score']:.2f}"
    time = "" if decision["seconds"] is None else f" after {seconds(decision['seconds'])}"
    because = f": {'; '.join(decision['reasons'])}" if decision["reasons"] else ""
    verdict = decision["decision"] or "not decided yet"
    return f"applicant {decision['entity_id']:>4} {verdict}{score}{time}{because}"
