"""A worker's view of a message that it holds, as `inspect`, events and Flower's pages show it."""

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

    def send_event(self, type: str, **fields: Any) -> None:
        """Send an event about this request; that of its start tells the queue.

        By default only `task-sent` does, which would show the arguments (`celery_settings`).
        """
        if type == "task-started":
            fields["routing_key"] = self.delivery_info.get("routing_key")
        super().send_event(type, **fields)
