"""Memory that many processes share by fork is better off in huge pages.

A fork copies an entry for each page. What the Celery parent has loaded lies in tens of thousands of
small ones; put together, 512 at a time, they are a few dozen entries (Linux 6.1 on).
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

#: <asm-generic/mman-common.h>
_MADV_COLLAPSE = 25
#: Bytes; of x86-64, and of ARM with pages of 4 KiB.
_HUGE = 2 << 20


def use() -> int:
    """Put this process's memory into huge pages as far as that can be; return how many."""
    if sys.platform != "linux":
        return 0
    try:
        libc = ctypes.CDLL(None)
        libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        # Holes, what is no memory of this kind, or a kernel that has no such call: left as it is.
        count = sum(libc.madvise(start, _HUGE, _MADV_COLLAPSE) == 0 for start in _places())
    except (OSError, AttributeError, ValueError) as error:
        log.warning("Could not use huge pages: %s", error)
        return 0
    log.info("%d MiB of memory are in huge pages", count * _HUGE >> 20)
    return count


def _places() -> Iterator[int]:
    """Yield where a huge page fits into private memory that is no file's."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, access, _, _, inode, *name = line.split(maxsplit=5)
        if access != "rw-p" or inode != "0" or (name and name[0] != "[heap]"):
            continue
        start, end = (int(part, 16) for part in span.split("-"))
        yield from range(-(-start // _HUGE) * _HUGE, end // _HUGE * _HUGE, _HUGE)
