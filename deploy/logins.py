"""Logins of the servers and what each may do: the same on one machine and on a fleet.

The events server's are in `intake.keys`, beside the keys that they open.
"""

from __future__ import annotations

#: PostgreSQL's databases and who owns them.
DATABASES = {"airflow": "airflow", "app": "airlane_owner"}

#: The login that reads statistics, and no data.
MONITOR = "airlane_monitor"

#: Schema of what only it may look at, out of sight of Airflow's migrations and ours.
MONITORING = "monitoring"

#: Every login, and the only databases that it may enter: workers, the listener and the relay
#: never see Airflow's metadata by theirs.
LOGINS = {
    "airflow": ("airflow",),
    "airlane_owner": ("app",),
    "airlane_worker": ("app",),
    "airlane_intake": ("app",),
    "airlane_relay": ("app",),
    MONITOR: ("airflow", "app"),
}

#: ACL rules of the broker's logins, in the words of `ACL SETUSER`.
BROKER_ACL = {
    "airflow": ["~*", "&*", "+@all", "-@admin", "-@dangerous", "+info", "+keys"],
    "operator": ["~*", "&*", "+@all"],
}

#: Airflow's account of the intake (`airflow_config.accounts.INTAKE_USER`, which loads Airflow).
SERVICE_ACCOUNT = "airlane_intake"
