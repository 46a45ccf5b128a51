"""`airlane`: the commands, and how every one of them fails.

Exit codes: 0 done; 1 it was tried and did not succeed (a part is down, an event was not decided
in time, a check found something); 2 the call or a settings file is wrong; 130 interrupted.
"""

from __future__ import annotations

import os
import sys

import psycopg
import redis.exceptions
import sqlalchemy.exc
import typer

from airflow_config.canary import NodeError
from airflow_config.queues import QueuesError
from airlane import (
    autoscale_commands,
    canary_commands,
    db_commands,
    fleet_commands,
    intake_commands,
    queue_commands,
    scale_commands,
    stack_commands,
)
from airlane.output import errors
from dags.packs.model_store import ModelStoreError
from deploy.fleet.changes import RenderError
from deploy.fleet.databases import PrepareError
from deploy.fleet.members import MembersError
from deploy.fleet.secrets import SecretsError
from deploy.fleet.serving import ServeError
from deploy.local.instance import InstanceError
from deploy.local.postgres import PostgresError
from deploy.local.stack import StackError
from deploy.local.supervisor import SupervisorError
from deploy.site_file import SiteError
from intake.settings import MissingSettingError

app = typer.Typer(
    name="airlane",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="One Airflow scheduler and a Celery fleet in which urgent work never waits behind batch.",
    pretty_exceptions_enable=False,
)

for module in (
    *(stack_commands, intake_commands, queue_commands, db_commands),
    *(fleet_commands, canary_commands, autoscale_commands, scale_commands),
):
    module.register(app)

#: The settings are wrong: nothing was tried.
_USAGE = (
    *(QueuesError, SiteError, InstanceError, MissingSettingError),
    *(SecretsError, ServeError, NodeError, MembersError),
)
#: It was tried, and did not work.
_FAILED = (
    *(StackError, SupervisorError, PostgresError, ModelStoreError),
    *(RenderError, PrepareError),
)


def main() -> None:
    """Run the command line (the console script `airlane`)."""
    try:
        app()
    except _USAGE as error:
        _end(str(error), 2)
    except _FAILED as error:
        _end(str(error), 1)
    except (redis.exceptions.RedisError, sqlalchemy.exc.DBAPIError, psycopg.Error) as error:
        first = str(error).partition("\n")[0]
        _end(f"expected the stack to be up, found: {first}. Fix: airlane status, airlane up", 1)
    except BrokenPipeError:
        # whoever read our output has had enough, as `airlane logs -f | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:
        # an AIRLANE_HOME that is a file, that is another user's, that is on a full disk
        where = f" ({error.filename})" if error.filename else ""
        _end(
            f"expected to read and write the instance, found: {error.strerror or error}{where}. "
            "Fix: is AIRLANE_HOME right, and yours?",
            2,
        )


def _end(message: str, code: int) -> None:
    errors.print(f"airlane: {message}", markup=False, soft_wrap=True)
    raise SystemExit(code)
