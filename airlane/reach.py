"""What an operator's commands reach: the servers of a fleet, or of this machine's stack."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_config import queues
from airflow_config.queues import Fleet
from deploy.fleet import host as fleet_host

if TYPE_CHECKING:
    from airlane.airflow_client import AirflowClient


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Addresses with the operator's logins; none is shown in a repr.

    Parameters
    ----------
    fleet
        The queue model that runs, whatever queues.yaml says by now.
    queues_file
        The file that it stands in, once the stack was started: `airlane apply` writes it anew.
    broker, events
        Of the two Redis servers.
    app_db, metadata_db
        Of the databases `app` and `airflow`, with their owners' logins, for SQLAlchemy.
    api_url, admin_password
        Of Airflow's API server.
    ca_file
        The certificate authority of these servers; None where all is on loopback.
    """

    fleet: Fleet = field(repr=False)
    queues_file: Path
    broker: str = field(repr=False)
    events: str = field(repr=False)
    app_db: str = field(repr=False)
    metadata_db: str = field(repr=False)
    api_url: str
    admin_password: str = field(repr=False)
    ca_file: Path | None = None

    def airflow(self) -> AirflowClient:
        """Return a client of the API server."""
        from airlane.airflow_client import AirflowClient  # noqa: PLC0415 - httpx is slow to load

        return AirflowClient(self.api_url, self.admin_password, ca_file=self.ca_file)


def reach() -> Reach:
    """Return what is reached from here: of the fleet where this host is one of it."""
    if not fleet_host.is_one():
        # of no use on a host of a fleet, and slow to load
        from deploy.local.instance import existing, started_fleet  # noqa: PLC0415

        instance = existing()
        return Reach(
            fleet=started_fleet(instance),
            queues_file=instance.started_queues,
            broker=instance.broker_url("operator"),
            events=instance.events_url("operator"),
            app_db=instance.app_db_url("airlane_owner"),
            metadata_db=instance.place().airflow_db_url,
            api_url=instance.api_url,
            admin_password=instance.keys["airflow_admin"],
        )
    host = fleet_host.here()
    known = host.secrets("control")
    file = host.started_queues("control")
    return Reach(
        fleet=queues.load(file),
        queues_file=file,
        broker=host.broker_url("operator", known["broker_operator"]),
        events=host.events_url("operator", known["events_operator"]),
        app_db=host.app_db_url("airlane_owner", known["airlane_owner"]),
        metadata_db=host.place("control", known).airflow_db_url,
        api_url=host.site.api.url,
        admin_password=known["airflow_admin"],
        ca_file=host.site.tls.ca,
    )
