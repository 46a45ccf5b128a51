"""Airflow's API server with the short way before it: `python -m ... api-server OPTIONS`.

The command, its options and its application are Airflow's own. Airflow hands its application to
the web server by name (`airflow.api_fastapi.main:app`), and the name is what changes here.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

log = logging.getLogger(__name__)


def before(app: Any) -> Any:
    """Return the application with the short way before it, or as it is where that does not fit."""
    # Not at the top: these are most of Airflow, which `--help` does without.
    from airflow_config import (  # noqa: PLC0415
        execution_api,
        execution_api_fit,
        execution_api_versions,
    )

    problems = execution_api_fit.misfits(m.cls.__name__ for m in app.user_middleware)
    mounted = [route.app for route in app.routes if getattr(route, "path", "") == "/execution"]
    if not mounted:
        problems.append("expected the execution API at /execution, found none")
    if problems:
        log.error(
            "airlane does not shorten the calls of tasks, each costs the API server twice as much: "
            "this Airflow is not the one that was read (%s). "
            "Fix: install the locked Airflow, or a release of airlane that knows this one",
            "; ".join(problems),
        )
        return app
    versions = execution_api_versions.Versions(mounted[0])
    compression = {m.cls.__name__: m.kwargs for m in app.user_middleware}.get("GZipMiddleware")
    return execution_api.ShortWay(app, mounted[0].state.dag_bag, versions, compression)


def main() -> None:
    """Run Airflow's command line with the arguments of this one."""
    from airflow.api_fastapi import main as served  # noqa: PLC0415

    served.app = before(served.app)
    from airflow.__main__ import main as airflow  # noqa: PLC0415

    sys.argv[0] = "airflow"
    airflow()


if __name__ == "__main__":
    main()
