"""An outbox of logs with two keepers, for the tests of who fills it and who empties it."""

from __future__ import annotations

from pathlib import Path

from deploy.fleet import log_shipper
from deploy.fleet.log_shipper import Shipping

LOG = "dag_id=d/run_id=manual__2026-01-01T00:00:00+00:00/task_id=t/attempt=1.log"


def an_outbox(tmp_path: Path) -> Shipping:
    found = Shipping(
        tasks=tmp_path / "tasks",
        outbox=tmp_path / "outbox",
        keepers=("c1", "c2"),
        user="airlane-logs",
        key=tmp_path / "key",
        known_hosts=tmp_path / "known_hosts",
        orphaned_s=100,
    )
    found.tasks.mkdir()
    log_shipper.prepare(found)
    return found


def written(shipping: Shipping, text: str = "{}\n") -> Path:
    file = shipping.tasks / LOG
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def waiting(shipping: Shipping, keeper: str = "c1") -> list[Path]:
    folder = shipping.outbox / keeper
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
