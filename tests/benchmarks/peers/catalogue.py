"""The peers, by name."""

from __future__ import annotations

from tests.benchmarks.peers import celery, dagster, dbos, prefect, procrastinate
from tests.benchmarks.peers.peer import Peer

PEERS: dict[str, Peer] = {
    module.PEER.name: module.PEER for module in (celery, procrastinate, dbos, prefect, dagster)
}
