"""One connection to the API server for all tasks of a Celery process, one after the other.

Airflow makes an HTTP client for each task. Only the connection below it is kept here: each task
has a client of its own, which alone holds the task's token, its cookies and what the server
refreshes.
"""

from __future__ import annotations

import os
from typing import Any

import httpx


class KeptTransport(httpx.BaseTransport):
    """A transport that clients can close without closing its connection.

    Parameters
    ----------
    transport
        What sends the requests.
    """

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport
        self._owner = os.getpid()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; refused in a forked process, whose bytes would mix with the owner's."""
        if os.getpid() != self._owner:
            raise RuntimeError(
                f"expected the connection to be used by process {self._owner}, found "
                f"{os.getpid()}, which was forked from it. Fix: make an HTTP client of your own"
            )
        return self._transport.handle_request(request)

    def close(self) -> None:
        """Leave the connection open for the next client."""

    def disconnect(self) -> None:
        """Close the connection."""
        self._transport.close()


class EitherTransport(httpx.BaseTransport):
    """Sends to one server, and to another one when nobody listens there.

    Parameters
    ----------
    first, second
        What sends the requests.
    other
        Address of the second server. Nothing of a request has been sent when there is no
        connection, so that it can be sent again.
    """

    def __init__(self, first: KeptTransport, second: KeptTransport, other: httpx.URL) -> None:
        self._first, self._second, self._other = first, second, other

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        try:
            return self._first.handle_request(request)
        except httpx.ConnectError:
            request.url = request.url.copy_with(
                scheme=self._other.scheme, host=self._other.host, port=self._other.port
            )
            request.headers["Host"] = self._other.netloc.decode("ascii")
            return self._second.handle_request(request)


class Connections:
    """The kept connections of a process, by address."""

    def __init__(self) -> None:
        self._kept: dict[str, KeptTransport] = {}
        self._owner = os.getpid()

    def client_like(self, client: Any, address: str | None = None) -> Any:
        """Return a client with the token of another one, on the kept connection.

        Parameters
        ----------
        client
            Airflow's, made for one task. It is returned itself where its connection can't be
            shared (a dry run, or a proxy).
        address
            Of another API server, in place of that client's as long as somebody listens there.
        """
        if type(client._transport) is not httpx.HTTPTransport or client._mounts:
            return client
        if self._owner != os.getpid():
            self.__init__()  # type: ignore[misc]  # the parent's are not ours
        own = str(client.base_url)
        kept = self._transport(type(client), own)
        transport: httpx.BaseTransport = kept
        if address is not None and address != own:
            first = self._transport(type(client), address)
            transport = EitherTransport(first, kept, client.base_url)
        return type(client)(
            base_url=address or own,
            token=client.auth.token,
            timeout=client.timeout,
            transport=transport,
        )

    def _transport(self, kind: Any, address: str) -> KeptTransport:
        if address not in self._kept:
            # The stock client's own transport, so that certificates are as Airflow set them; its
            # own client must not close it.
            model = kind(base_url=address, token="", limits=_LIMITS)
            self._kept[address] = KeptTransport(model._transport)
        return self._kept[address]

    def forget(self) -> None:
        """Close all connections, as after an error in the midst of an answer."""
        for transport in self._kept.values():
            transport.disconnect()
        self._kept.clear()


#: Airflow's API server keeps an idle connection for 120 s ([api] worker_timeout).
_LIMITS = httpx.Limits(max_keepalive_connections=1, max_connections=10, keepalive_expiry=60)
