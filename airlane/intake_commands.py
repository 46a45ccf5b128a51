"""Commands about sign-ups and what becomes of them: signup, decisions, dead."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import redis
import typer

from airlane import redis_client
from airlane.options import JsonFlag
from airlane.output import console, decision_line, errors, print_json
from airlane.reach import reach
from intake import database, dead_letters, events, ledger, producer
from intake.escaping import printable

#: What is known of an event that is not decided.
_UNDECIDED: dict[str, Any] = {
    "decision": None,
    "score": None,
    "reasons": [],
    "model_version": None,
    "seconds": None,
}

dead = typer.Typer(
    no_args_is_help=True, help="Look at events that could not be decided, and try them again."
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(signup)
    app.command()(decisions)
    app.add_typer(dead, name="dead")


def _check(entity_ids: list[str], payload: object) -> None:
    """Refuse here what would become a dead letter: nobody would wait for that on purpose."""
    for entity in entity_ids:
        event = producer.fields(entity, payload=payload)
        try:
            events.parse({name.encode(): text.encode() for name, text in event.items()}, "")
        except events.InvalidEventError as error:
            raise typer.BadParameter(str(error)) from None


def _send(client: redis.Redis, entity_ids: list[str], payload: object) -> dict[str, str]:
    """Send sign-ups; return applicants by event id."""
    sent: dict[str, str] = {}
    for entity in entity_ids:
        try:
            sent[producer.signup(client, entity, payload=payload)] = entity
        except redis.exceptions.OutOfMemoryError:
            _say_full(f"{len(entity_ids)} sign-ups", len(sent))
            raise typer.Exit(1) from None
    return sent


def _say_full(what: str, sent: int) -> None:
    errors.print(
        f"airlane: expected room for {what} in the stream, found the events server full after "
        f"{sent} of them, which are not lost. It has room again once what waits is decided: "
        "airlane status. Fix: try again later, or set a larger max_memory of events in the site "
        "file",
        soft_wrap=True,
    )


def signup(
    entity_ids: Annotated[
        list[str], typer.Argument(metavar="ENTITY...", help="Applicants: rows of the book, 1-1000.")
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the decisions.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for all of them.", min=0)] = 180,
    payload: Annotated[
        str | None, typer.Option(help="JSON that goes with each event, at most 64 KiB.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Send a sign-up for each applicant; exit 1 when one is not decided in time."""
    try:
        content = None if payload is None else json_module.loads(payload)
    except (ValueError, RecursionError) as error:
        shown = (payload or "")[:80]
        raise typer.BadParameter(f"expected JSON, found {shown!r}: {error}") from None
    _check(entity_ids, content)
    with redis_client.connect(reach().events) as client:
        after = producer.tail(client)
        sent = _send(client, entity_ids, content)
        missing = set(sent) if wait else set()
        if not wait:
            for event_id, entity in sent.items():
                _print({"event_id": event_id, "entity_id": entity, **_UNDECIDED}, json)
        for decision in producer.follow(client, after, timeout) if wait else ():
            if decision["event_id"] in missing:
                missing.remove(decision["event_id"])
                _print(decision, json)
            if not missing:
                break
    for event_id in missing:
        _print({"event_id": event_id, "entity_id": sent[event_id], **_UNDECIDED}, json)
    if missing:
        errors.print(
            f"airlane: {len(missing)} of {len(sent)} not decided within {timeout:g} s. They are "
            "not lost: airlane decisions --follow, airlane status, airlane dead list",
            soft_wrap=True,
        )
        raise typer.Exit(1)


def decisions(
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as they come.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show all decisions, oldest first."""
    reached = reach()
    engine = database.engine(reached.app_db)
    if not follow:
        for decision in ledger.decisions(engine):
            _print(decision.to_json(), json)
        return
    with redis_client.connect(reached.events) as client:
        # first, so that nothing falls between the ledger and the stream
        after = producer.tail(client)
        shown = set()
        for decision in ledger.decisions(engine):
            shown.add(decision.event_id)
            _print(decision.to_json(), json)
        for found in producer.follow(client, after):
            if found["event_id"] not in shown:
                _print(found, json)


def _print(decision: dict[str, Any], json: bool) -> None:
    if json:
        print_json(decision)
        return
    line = f"{decision['event_id']} {decision_line(decision)}"
    console.print(line, markup=False, soft_wrap=True)


@dead.command(name="list")
def list_dead(json: JsonFlag = False) -> None:
    """List dead letters, oldest first."""
    with redis_client.connect(reach().events) as client:
        letters = list(dead_letters.letters(client))
    if json:
        print_json([letter.to_json() for letter in letters])
        return
    for letter in letters:
        event_id = letter.event.get("event_id", "(no event id)")
        line = printable(f"{letter.id} {event_id}: {letter.reason}")
        console.print(line, markup=False, soft_wrap=True)
    count = len(letters)
    console.print(
        f"{count} dead letter{'s' if count > 1 else ''}." if count else "No dead letters."
    )


@dead.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `dead list` shows it.")],
    json: JsonFlag = False,
) -> None:
    """Show one dead letter with its whole event."""
    with redis_client.connect(reach().events) as client:
        letter = _letter(client, letter_id)
    if json:
        print_json(letter.to_json())
        return
    known = (("id", letter.id), ("reason", letter.reason))
    for name, value in (*known, *letter.event.items()):
        console.print(printable(f"{name:<10} {value}"), markup=False, soft_wrap=True)


@dead.command()
def replay(
    letter_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="As `dead list` shows them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Replay every dead letter.")] = False,
    json: JsonFlag = False,
) -> None:
    """Send dead letters again: what had a run before gets a new event id, <id>.r2 and so on.

    One that can't be sent is named, the others go on; exit 1 then.
    """
    if bool(letter_ids) == everything:
        raise typer.BadParameter("expected ids of dead letters, or --all")
    with redis_client.connect(reach().events) as client:
        ids = letter_ids or [letter.id for letter in dead_letters.letters(client)]
        kept = 0
        for done, letter_id in enumerate(ids):
            try:
                event_id = dead_letters.replay(client, letter_id)
            except dead_letters.UnknownLetterError as error:
                errors.print(f"airlane: {error}", markup=False, soft_wrap=True)
                kept += 1
                continue
            except redis.exceptions.OutOfMemoryError:
                _say_full(f"{len(ids)} events", done - kept)
                raise typer.Exit(1) from None
            if json:
                print_json({"id": letter_id, "event_id": event_id})
            else:
                text = printable(f"{letter_id} sent again as {event_id}")
                console.print(text, markup=False, soft_wrap=True)
    if kept:
        raise typer.Exit(1)


def _letter(client: redis.Redis, letter_id: str) -> dead_letters.DeadLetter:
    try:
        return dead_letters.show(client, letter_id)
    except dead_letters.UnknownLetterError as error:
        errors.print(f"airlane: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
