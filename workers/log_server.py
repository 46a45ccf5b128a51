"""Serves the logs of this host's running tasks to the API server, on one address alone.

The application is Airflow's own (`airflow.utils.serve_logs`, 3.3.2), which takes requests that the
API server has signed. Airflow's command for it listens on every address of the host and has no
option for that.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m workers.log_server", description=__doc__)
    parser.add_argument("--host", required=True, help="the only address to listen on")
    parser.add_argument("--port", required=True, type=int)
    options = parser.parse_args(arguments)
    # Not at the top: both load most of Airflow, which `--help` does without.
    import uvicorn  # noqa: PLC0415
    from airflow.utils.serve_logs.log_server import get_app  # noqa: PLC0415

    uvicorn.run(get_app(), host=options.host, port=options.port, access_log=False)


if __name__ == "__main__":
    main()
