"""What the databases must hold before the parts start: schemas, accounts, pools, applicants.

Needs Airflow's settings in the environment, and Airflow loads slowly: run it in a process of its
own.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import airflow
from airflow.utils.session import create_session

from airflow_config import accounts, metadata, pools, queues
from airflow_config.place import ROOT
from intake import applicants, database

#: The applicants of the demo: UCI Statlog German Credit, CC BY 4.0.
APPLICANTS = ROOT / "data" / "german_credit.csv"


def prepare(
    *,
    metadata_url: str,
    owner_url: str,
    passwords: Mapping[str, str],
    keep_slots: bool,
    done: Mapping[str, Any],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Bring schemas, accounts, pools and applicants up to this version.

    Parameters
    ----------
    metadata_url, owner_url
        Of Airflow's database and of the database `app`, each with its owner's login.
    passwords
        By name, as in `deploy.passwords`.
    keep_slots
        Leave the slots of the pools that are there: on a fleet the scheduler fits them to the
        live workers, and to set them back would be a change at every call.
    done
        What this returned the last time; empty at first.
    say
        Called with a line for each change.

    Returns
    -------
    dict
        What to hand in as `done` the next time.
    """
    now = dict(done)
    if now.get("airflow") != airflow.__version__:
        say(f"migrating Airflow's database to {airflow.__version__}")
        metadata.withdraw(metadata_url)
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True)
        now["airflow"] = airflow.__version__
    for change in metadata.migrate(metadata_url):
        say(change)
    metadata.grant(metadata_url)
    for change in database.migrate(owner_url):
        say(change)
    database.grant(owner_url)
    applicants.load_csv(database.engine(owner_url), APPLICANTS)
    logins = {
        accounts.ADMIN_USER: passwords["airflow_admin"],
        accounts.INTAKE_USER: passwords["airflow_intake"],
    }
    # not the passwords themselves: this only tells whether they are the ones that were set
    mark = hashlib.sha256(json.dumps(logins).encode()).hexdigest()
    if now.get("accounts") != mark:
        for change in accounts.ensure_accounts(logins):
            say(change)
        now["accounts"] = mark
    with create_session() as session:
        for change in pools.ensure_pools(queues.load(), session, keep_slots=keep_slots):
            say(change)
    return now
