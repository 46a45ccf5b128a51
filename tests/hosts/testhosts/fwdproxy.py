"""Forward proxy of the test hosts: listens in a network namespace, dials out from the caller's.

A process (here: one thread) may hold sockets of two network namespaces at once: bind the
listening socket after setns() into the hosts' namespace, go back, and every later connect()
leaves from the namespace that the script was started in. No NAT, no ip_forward, no nftables.

    python3 fwdproxy.py NETNS_PATH ADDR:PORT ALLOWED_HOST...   (no hosts named: all is refused)
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import sys
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

CLONE_NEWNET = 0x40000000
#: Seconds in which a client has to say what it wants.
HEAD_DEADLINE = 30

_REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def listener(netns: str, address: str, port: int) -> socket.socket:
    """Return a socket that listens inside the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open() as home, Path(netns).open() as there:
        for descriptor, step in ((there, "enter"), (home, "leave")):
            if libc.setns(descriptor.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns: {step} {netns}")
            if descriptor is there:
                listening = socket.create_server((address, port), backlog=128)
    return listening


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes until one side is done."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(
    allowed: set[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Serve one connection."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_DEADLINE)
        method, target, rest = head.split(b" ", 2)
        connect = method == b"CONNECT"
        url = urlsplit(("//" if connect else "") + target.decode())
        if url.hostname not in allowed:
            writer.write(_REFUSED)
            say(f"refused {url.hostname}")
            writer.close()
            return
        up_reader, up_writer = await asyncio.open_connection(url.hostname, url.port or 80)
        if connect:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            # one request per connection: origin-form target, keep-alive switched off
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            dropped = (b"connection:", b"proxy-")
            lines = [x for x in rest.split(b"\r\n") if not x.lower().startswith(dropped)]
            lines.insert(1, b"Connection: close")
            up_writer.write(method + b" " + path.encode() + b" " + b"\r\n".join(lines))
        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))
    except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError) as error:
        say(f"error {error!r}")
        writer.close()


def say(line: str) -> None:
    """Write a line of the log."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


async def main(listening: socket.socket, allowed: set[str]) -> None:
    """Serve until the end."""
    server = await asyncio.start_server(partial(serve, allowed), sock=listening)
    await server.serve_forever()


if __name__ == "__main__":
    host, _, number = sys.argv[2].rpartition(":")
    asyncio.run(main(listener(sys.argv[1], host, int(number)), set(sys.argv[3:])))
