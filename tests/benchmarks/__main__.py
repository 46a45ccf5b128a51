"""`make bench`, `python -m tests.benchmarks`."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from tests.benchmarks import options, report
from tests.benchmarks.cases import GROUPS
from tests.benchmarks.runner import INTERRUPTS, Runner


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the benchmark."""
    # so that whoever ends it leaves no stack behind; a shell's background job ignores Ctrl-C
    for number in INTERRUPTS:
        signal.signal(number, _interrupt)
    chosen = options.parse(sys.argv[1:], GROUPS)
    if chosen.render:
        for path in report.render(chosen.render):
            _say(str(path))
        return 0
    runner = Runner(chosen, GROUPS, _say)
    try:
        content = runner.run()
    except KeyboardInterrupt:
        report.render(runner.path)
        _say(f"make bench: interrupted; the stacks are down, what was measured is in {runner.path}")
        return 130
    for line in (*report.stage_lines(content), "", *report.lines(content)):
        _say(line)
    for path in report.render(runner.path):
        _say(f"written: {path}")
    for line in runner.errors:
        _say(f"NOT MEASURED: {line}")
    return 1 if runner.errors else 0


if __name__ == "__main__":
    sys.exit(main())
