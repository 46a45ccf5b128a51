"""What an instance's databases must hold before its parts start.

Run as `python -m deploy.local.databases` by `stack`, in a process of its own: it needs
Airflow's settings in its environment, and Airflow loads slowly.
"""

from __future__ import annotations

import sys

from deploy import databases
from deploy.local.instance import Instance, current


def prepare(instance: Instance) -> None:
    """Bring schemas, accounts, pools and applicants up to this version; print what changed."""
    done = databases.prepare(
        metadata_url=instance.place().airflow_db_url,
        owner_url=instance.app_db_url("airlane_owner"),
        passwords=instance.keys,
        keep_slots=False,
        done=instance.state().get("prepared", {}),
        say=_say,
    )
    instance.update_state(prepared=done)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    prepare(current())
