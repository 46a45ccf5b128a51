"""Real workers, started as the stack starts them, for tests that look at them from outside."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from airflow_config import queues, settings
from airflow_config.place import ROOT, Place
from deploy.local.ports import free_port
from workers.command import class_of_part, worker_command


def worker_environment(
    folder: Path,
    redis_url: str,
    queues_file: Path,
    *,
    api_url: str | None = None,
    extra: settings.Settings | None = None,
) -> dict[str, str]:
    """Return what workers have in their environment, with `extra` settings of Airflow.

    Without an address of the API server, none answers.
    """
    place = Place(
        home=folder,
        root=ROOT,
        queues_file=queues_file,
        airflow_home=folder / "airflow",
        logs=folder / "tasks",
        airflow_db_url="",
        broker_url=redis_url,
        result_url=redis_url,
        api_url=api_url or f"http://127.0.0.1:{free_port()}",
        api_port=0,
        fernet_key="",
        jwt_secret="",
        api_secret_key="",
    )
    config = place.airflow_home / "airflow.cfg"
    config.parent.mkdir()
    found = settings.airflow_settings(queues.load(queues_file), place, "worker")
    for section, values in (extra or {}).items():
        found[section].update(values)
    config.write_text(settings.render_cfg(found))
    return {
        "PATH": os.environ["PATH"],
        "AIRLANE_HOME": str(folder),
        "AIRLANE_QUEUES": str(queues_file),
        "AIRFLOW_HOME": str(place.airflow_home),
        "AIRFLOW_CONFIG": str(config),
    }


@contextmanager
def running_worker(
    environment: dict[str, str], part: str, log: Path, before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker until the block ends; then nothing of it is left.

    `before` its command line may stand what starts it, such as `nice`.
    """
    fleet = queues.load(Path(environment["AIRLANE_QUEUES"]))
    words = [*before, *worker_command(fleet, class_of_part(part) or "", part)]
    variables = {**environment, "AIRLANE_PART": part}
    with (
        log.open("wb") as out,
        subprocess.Popen(
            words, env=variables, cwd=ROOT, stdout=out, stderr=out, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
