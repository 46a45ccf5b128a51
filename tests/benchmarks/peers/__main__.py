"""Measure peers by themselves: `python -m tests.benchmarks.peers [--quick] [NAME ...]`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from tests.benchmarks.peers.catalogue import PEERS
from tests.benchmarks.peers.chain import CASES
from tests.benchmarks.peers.results import HOME, chosen, install, run


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    """Print the results as JSON, and what is under way to standard error."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--quick", action="store_true", help="fewer samples: a minute or two each")
    parser.add_argument(
        "--case", action="append", choices=CASES, help="only this one (may be repeated)"
    )
    parser.add_argument("--install", action="store_true", help="make the environments, no more")
    parser.add_argument(
        "--home", type=Path, default=HOME, help="folder of the environments (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="file to write the JSON to as well")
    given = parser.parse_args()
    start = time.monotonic()

    def progress(line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - start:6.1f} s  {line}\n")

    try:
        chosen(given.names)
    except ValueError as error:
        parser.error(str(error))
    # a plain kill, too, has to stop what was started; and a shell's background job ignores Ctrl-C
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        if given.install:
            failed = install(given.names, home=given.home)
            for name, why in failed.items():
                progress(f"{name}: {why}")
            return 1 if failed else 0
        results = run(
            given.names,
            quick=given.quick,
            progress=progress,
            home=given.home,
            cases=tuple(given.case or ()),
        )
    except KeyboardInterrupt:
        progress("interrupted; everything that was started is stopped")
        return 130
    text = json.dumps({"peers": results}, indent=2) + "\n"
    sys.stdout.write(text)
    if given.out:
        given.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
