"""Commands about the stack as a whole: up, down, logs, env, worker, reset, redis."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from typing import Annotated

import typer

from airflow_config.place import ROOT
from airflow_config.problems import nearest
from airlane import redis_client
from airlane.output import console, errors, print_progress
from dags.packs.model_store import ModelStoreError, NoModelError, promoted
from deploy import flower_settings
from deploy.local import leftovers, postgres, stack, valkey
from deploy.local.caller import passed_on
from deploy.local.instance import (
    Instance,
    InstanceError,
    current,
    existing,
    started,
    started_fleet,
)
from deploy.local.parts import parts, worker_environment, worker_words
from workers import command as worker_command


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for function in (up, down, logs, env, worker, reset):
        app.command()(function)
    app.command(
        name="redis",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(redis)


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Then decide real sign-ups while batch work waits.")
    ] = False,
) -> None:
    """Start the whole stack and return when every part is ready."""
    from airlane import demo as demonstration  # noqa: PLC0415 - slow, and only needed with --demo

    instance = current()
    try:
        changed = stack.up(instance, print_progress)
    except KeyboardInterrupt:
        errors.print(
            "airlane: interrupted. What was started runs: airlane up goes on with it, "
            "airlane down stops it.",
            soft_wrap=True,
        )
        raise typer.Exit(130) from None
    console.print("The stack is up." if changed else "The stack was up already.")
    if demo:
        demonstration.run(instance)
    show_doors(instance)


def show_doors(instance: Instance) -> None:
    """Print where people log in, and what to try next."""
    keys = instance.keys
    doors = (
        ("Airflow", instance.api_url, "admin", keys["airflow_admin"]),
        ("Flower", instance.flower_url, flower_settings.USER, keys["flower_inspector"]),
    )
    for name, address, login, password in doors:
        console.print(f"{name:<8} {address}  login {login}  password {password}", soft_wrap=True)
    console.print("Try next:")
    try:
        promoted(instance.models)
    except NoModelError:  # a sign-up would be answered with error
        console.print(
            "  make up                               train the first risk model, and decide"
        )
    except ModelStoreError as error:
        errors.print(f"airlane: {error}", markup=False, soft_wrap=True)
    for line in (
        "  .venv/bin/airlane signup 7 --wait     one more sign-up, and its decision",
        "  .venv/bin/airlane queues              what waits and runs in each queue",
        "  .venv/bin/airlane status              every part of the stack",
        "  make down                             stop it all; nothing is lost",
    ):
        console.print(line, markup=False)


def _say(line: str) -> None:
    """Print a line that names a path, as it is."""
    console.print(line, markup=False, soft_wrap=True)


def down() -> None:
    """Stop the stack: intake first; workers get 20 s; no process is left."""
    instance = started()
    if not instance.exists and not leftovers.find(instance.folder):
        _say(f"Nothing to stop: no instance in {instance.folder}.")
        return
    stack.down(instance, print_progress)
    console.print("The stack is down.")


def logs(
    part: Annotated[str, typer.Argument(help="A part's name, as `airlane status` shows it.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option("-n", help="Lines to show.", min=1)] = 100,
) -> None:
    """Show a part's log."""
    instance = existing()
    known = [p.name for p in parts(instance, started_fleet(instance)) if p.words]
    known += ["supervisord", "databases"]
    if part not in known:
        raise InstanceError(
            f"expected a part: {', '.join(known)}; found {part!r}{nearest(part, known)}"
        )
    path = instance.logs / f"{part}.log"
    if not follow:
        sys.stdout.write(stack.last_lines(path, lines, indent="") + "\n")
        return
    # tail follows the name, so that a rotated log goes on
    words = ["tail", "-n", str(lines), "-F", str(path)]
    code = subprocess.run(words, check=False).returncode
    # whoever read it has had enough, as `logs -f | head` has
    sys.exit(0 if code == -signal.SIGPIPE else code)


def env() -> None:
    """Print exports for using airflow, psql and celery by hand: eval "$(airlane env)"."""
    instance = existing()
    pgpass = instance.folder / "secrets" / "pgpass"
    variables = instance.environment("", "control", "operator")
    # the one marks the processes that `down` ends; by the other, `airlane check` in this shell
    # would read the model that runs instead of the one that is being written
    del variables["AIRLANE_PART"], variables["AIRLANE_QUEUES"]
    variables |= {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(instance.port("postgres")),
        "PGUSER": "airlane_owner",
        "PGDATABASE": "app",
        "PGPASSFILE": str(pgpass),
        # the login of an application that sends sign-ups: docs/producer.md
        "AIRLANE_PRODUCER_URL": instance.events_url("producer"),
        "CELERY_APP": "airflow.providers.celery.executors.celery_executor:app",
    }
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    folders = f"{sys.prefix}/bin:{postgres.BIN}"
    typer.echo(f'export PATH={shlex.quote(folders)}:"$PATH"')


def worker(
    class_name: Annotated[str, typer.Argument(metavar="CLASS", help="A class of queues.yaml.")],
    show: Annotated[
        bool, typer.Option("--show", help="Print the command line instead of running it.")
    ] = False,
) -> None:
    """Run one more worker of a class in the foreground, until Ctrl-C."""
    instance = existing()
    fleet = started_fleet(instance)
    if class_name not in fleet.workers:
        known = list(fleet.workers)
        raise InstanceError(
            f"expected a worker class of queues.yaml: {', '.join(known)}; found {class_name!r}"
            f"{nearest(class_name, known)}"
        )
    # a name of its own beside the workers that the supervisor keeps
    name = worker_command.part_name(class_name, os.getpid())
    words = worker_words(fleet, class_name, name)
    if show:
        typer.echo(shlex.join(words))
        return
    if not valkey.answers(instance.broker_url()):
        raise stack.StackError(
            "expected the stack to be up, found no answer from the broker. "
            "Fix: airlane status, airlane up"
        )
    variables = passed_on() | worker_environment(instance, name)
    os.chdir(ROOT)
    os.execvpe(words[0], words, variables)  # noqa: S606


def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop the stack and delete the instance: databases, streams, models, logs, passwords."""
    instance = started()
    if not instance.folder.exists():
        _say(f"Nothing to delete: no instance in {instance.folder}.")
        return
    if not instance.exists:
        raise InstanceError(
            f"expected an instance in {instance.folder}, found a folder without instance.json. "
            "It is not deleted: is AIRLANE_HOME right?"
        )
    if not yes:
        typer.confirm(f"Delete {instance.folder} with everything in it?", abort=True)
    stack.reset(instance, print_progress)
    _say(f"Deleted {instance.folder}.")


def redis(
    context: typer.Context,
    broker: Annotated[
        bool,
        typer.Option("--broker", help="Talk to Celery's broker instead of to the events server."),
    ] = False,
) -> None:
    """Send a Redis command to the events server, as redis-cli would: airlane redis XLEN signups."""
    instance = existing()
    if not context.args:
        errors.print("airlane: expected a Redis command, such as: airlane redis XLEN signups")
        raise typer.Exit(2)
    url = instance.broker_url("operator") if broker else instance.events_url("operator")
    if not redis_client.run(url, context.args):
        raise typer.Exit(1)
