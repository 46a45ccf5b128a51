"""The peers, by name."""

from __future__ import annotations

from tests.benchmarks.peers import celery, dagster, dbos, prefect, procrastinate
from tests.benchmarks.peers.peer import Peer

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        celery.PEER,
        procrastinate.PEER,
        procrastinate.FAST,
        dbos.PEER,
        dbos.FAST,
        dagster.PEER,
        # the slowest last: what is interrupted has lost least
        prefect.PEER,
        prefect.FAST,
    )
}
