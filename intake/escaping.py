"""Text of somebody else's, made fit for logs and terminals."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text of somebody else's as it may stand on a terminal, in one line.

    What moves the cursor, changes colours or begins a line is escaped: a producer's bytes must not
    write on an operator's screen.
    """
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )
