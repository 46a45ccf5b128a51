"""`airlane`: the commands, and how every one of them fails.

Exit codes: 0 done; 1 it was tried and did not succeed (a part is down, an event was not decided
in time, a check found something); 2 the call or a settings file is wrong; 130 interrupted.
"""

from __future__ import annotations

import io
import os
import select
import sys
from importlib import import_module
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

#: Command or group of commands -> the module that registers it. Only the called one's is loaded:
#: all of them take a second, and a playbook calls airlane dozens of times.
MODULES = {
    **dict.fromkeys(("up", "down"), "stack_commands"),
    "status": "status_commands",
    **dict.fromkeys(("logs", "env", "worker", "reset", "redis"), "stack_commands"),
    **dict.fromkeys(("signup", "decisions", "dead"), "intake_commands"),
    "replay": "replay_commands",
    "model": "model_commands",
    "queues": "queue_commands",
    "check": "check_commands",
    "workers": "worker_commands",
    **dict.fromkeys(("explain", "render"), "derivation_commands"),
    **dict.fromkeys(("diff", "apply"), "apply_commands"),
    "db": "db_commands",
    **dict.fromkeys(("serve", "secrets", "fleet"), "fleet_commands"),
    **dict.fromkeys(("canary", "tasks"), "canary_commands"),
    "autoscale": "autoscale_commands",
    "scale": "scale_commands",
}

#: Errors that people are told of without a traceback -> exit code. Names, so that none is loaded:
#: whoever raises one has.
EXIT_CODES = {
    # the call or a settings file is wrong: nothing was tried
    "airflow_config.canary.NodeError": 2,
    "airflow_config.queues.QueuesError": 2,
    "deploy.fleet.members.MembersError": 2,
    "deploy.fleet.secrets.SecretsError": 2,
    "deploy.fleet.serving.ServeError": 2,
    "deploy.local.instance.InstanceError": 2,
    "deploy.site_file.SiteError": 2,
    "intake.settings.MissingSettingError": 2,
    # it was tried, and did not work
    "airflow_config.check.ParseError": 1,
    "dags.packs.model_store.ModelStoreError": 1,
    "deploy.fleet.changes.RenderError": 1,
    "deploy.fleet.databases.PrepareError": 1,
    "deploy.fleet.running.SystemdError": 1,
    "deploy.local.postgres.PostgresError": 1,
    "deploy.local.stack.StackError": 1,
    "deploy.local.supervisor.SupervisorError": 1,
    "intake.model_registry.RegistryError": 1,
}
#: Errors of a server that can't be reached or did not do what it was asked.
SERVER_ERRORS = {"psycopg.Error", "redis.exceptions.RedisError", "sqlalchemy.exc.DBAPIError"}


class Commands(TyperGroup):
    """The commands, each loaded when it is called (Click's pattern of lazy subcommands)."""

    # Typer does not export the types of Click that it carries along, hence Any.
    def invoke(self, ctx: Any) -> Any:
        """Run a command; 0 when whoever read its output has had enough, as `logs -f | head` has."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # here, because Click makes 1 of it and says nothing
            if not _reader_is_gone():
                _end_by(error)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit from None

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return the names of all commands in the order of the help text."""
        return list(MODULES)

    def get_command(self, ctx: Any, name: str) -> Any:  # noqa: ARG002
        """Return a command; for a name that is none, None."""
        if name not in MODULES:
            # Click proposes the nearest of those that it knows
            self.commands = {known: self._load(known) for known in MODULES}
            return None
        return self._load(name)

    def _load(self, name: str) -> Any:
        part = typer.Typer()
        # or a lone command would be the whole program
        part.callback()(lambda: None)
        import_module(f"airlane.{MODULES[name]}").register(part)
        return typer.main.get_group(part).commands[name]


app = typer.Typer(
    name="airlane",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@app.callback(
    help="One Airflow scheduler and a Celery fleet in which urgent work never waits behind batch."
)
def _airlane() -> None:
    pass


def main() -> None:
    """Run the command line (the console script `airlane`)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a letter that the terminal has not is no reason to end
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except UnicodeEncodeError as error:
        # an argument on its way to a server; a path may hold any bytes
        _end(f"expected text in UTF-8, found {error.object[error.start : error.end]!r}", 2)
    except OSError as error:
        _end_by(error)
    except Exception as error:
        kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
        for name in kinds & EXIT_CODES.keys():
            _end(str(error), EXIT_CODES[name])
        if not kinds & SERVER_ERRORS:
            raise
        first = str(error).partition("\n")[0]
        _end(f"expected the stack to be up, found: {first}. Fix: airlane status, airlane up", 1)


def _reader_is_gone() -> bool:
    """Tell whether it was standard output that broke, and not the pipe to a process of ours."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return bool(poll.poll(0))


def _end_by(error: OSError) -> NoReturn:
    # an AIRLANE_HOME that is a file, that is another user's; a file of the call; a full disk
    where = f" ({error.filename})" if error.filename else ""
    _end(
        f"expected to read and write files, found: {error.strerror or error}{where}. "
        "Fix: is AIRLANE_HOME right, and that file yours?",
        2,
    )


def _end(message: str, code: int) -> NoReturn:
    from airlane.output import errors  # noqa: PLC0415

    errors.print(f"airlane: {message}", markup=False, soft_wrap=True)
    raise SystemExit(code)
