"""What the databases must hold before the parts start: schemas, accounts, pools, applicants.

Run as `python -m deploy.local.databases` by `stack`, in a process of its own: it needs
Airflow's settings in its environment, and Airflow loads slowly.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import airflow
from airflow.utils.session import create_session

from airflow_config import accounts, metadata, pools, queues
from airflow_config.place import ROOT
from deploy.local.instance import Instance, current
from intake import applicants, database

#: The applicants of the demo: UCI Statlog German Credit, CC BY 4.0.
APPLICANTS = ROOT / "data" / "german_credit.csv"


def prepare(instance: Instance) -> None:
    """Bring schemas, accounts, pools and applicants up to this version; print what changed."""
    done = instance.state().get("prepared", {})
    metadata_url = instance.place().airflow_db_url
    if done.get("airflow") != airflow.__version__:
        _say(f"migrating Airflow's database to {airflow.__version__}")
        metadata.withdraw(metadata_url)
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True)
        done["airflow"] = airflow.__version__
    for change in metadata.migrate(metadata_url):
        _say(change)
    metadata.grant(metadata_url)
    owner = instance.app_db_url("airlane_owner")
    database.migrate(owner)
    database.grant(owner)
    applicants.load_csv(database.engine(owner), APPLICANTS)
    passwords = {
        accounts.ADMIN_USER: instance.keys["airflow_admin"],
        accounts.INTAKE_USER: instance.keys["airflow_intake"],
    }
    # not the passwords themselves: this only tells whether they are the ones that were set
    mark = hashlib.sha256(json.dumps(passwords).encode()).hexdigest()
    if done.get("accounts") != mark:
        for change in accounts.ensure_accounts(passwords):
            _say(change)
        done["accounts"] = mark
    with create_session() as session:
        for change in pools.ensure_pools(queues.load(), session):
            _say(change)
    instance.update_state(prepared=done)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    prepare(current())
