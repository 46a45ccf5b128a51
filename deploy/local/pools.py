"""Makes and describes the pools of the queues, on a stack that runs: `airlane apply`.

Run as `python -m deploy.local.pools`, in a process of its own: it needs Airflow's settings in its
environment, and Airflow loads slowly. Slots of pools that are there are left to the scheduler,
which fits them to the live workers.
"""

from __future__ import annotations

import sys

from airflow.utils.session import create_session

from airflow_config import pools, queues


def main() -> None:
    """Bring the pools up to the queue model; print what changed."""
    with create_session() as session:
        changed = pools.ensure_pools(queues.load(), session, keep_slots=True)
    for line in changed:
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
