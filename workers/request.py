"""A worker's view of a message that it holds, as `inspect` and Flower's pages ask for it."""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request


class DescribedRequest(Request):
    """A request that shows the description of its arguments, never the arguments themselves.

    By default Celery answers `inspect active` and `inspect reserved` with the arguments as they
    are: with the token by which the task speaks to the API server.
    """

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: ARG002 - Celery's signature
        """Return what `inspect` shows of this request."""
        return super().info(safe=True)
