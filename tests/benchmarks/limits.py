"""What limits a stack, from a results file: who took the CPU, and what a task costs at least."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.benchmarks.plan import STACKS

Content = Mapping[str, Any]

#: Parts that have a column of their own; the others are taken together.
_SHOWN = ("workers, urgent", "workers, batch", "scheduler", "api-server", "postgres",
          "dag-processor")  # fmt: skip
REST = "other parts"
#: Stock's one worker runs both; its tasks stand under this name.
_BOTH = "workers, urgent"
#: Chains of steps one after the other on a stack that does nothing else.
CHAINS = ("chain6_idle", "chain40_idle")
#: What fills a stack.
LOADS = ("chain6_flood_10s", "chain6_flood_1s", "chain6_flood_0s", "chain6_cron200", "talk_gap",
         "throughput")  # fmt: skip


def column(part: str) -> str:
    """Return where a part's CPU is shown."""
    if part in ("worker-onboarding", "worker-control", "worker-stock"):
        return _BOTH
    if part == "worker-batch":
        return "workers, batch"
    if part == "batch-api":
        return "api-server"
    return part if part in _SHOWN else REST


def grouped(parts: Mapping[str, float]) -> dict[str, float]:
    """Return figures by column; those of a column are summed."""
    found: dict[str, float] = {}
    for part, value in parts.items():
        found[column(part)] = found.get(column(part), 0.0) + value
    return found


def per_step(content: Content) -> tuple[list[str], list[list[str]]]:
    """Return a table: CPU milliseconds for each step of an idle chain, by part.

    What the stack takes when it does nothing, in the pauses between chains too, is in it.
    """
    head = ["", *_SHOWN, REST, "all"]
    rows = []
    for name, stack, details in _each(content, CHAINS):
        if parts := details.get("cpu_per_task"):
            rows.append([f"`{name}` {stack}", *_cells(grouped(parts), 1000, 1)])
    return head, rows


def by_load(content: Content) -> tuple[list[str], list[list[str]]]:
    """Return a table: the cores that each part takes beside what fills the stack."""
    head = ["", *_SHOWN, REST, "all", "foreign"]
    rows = []
    for name, stack, details in _each(content, LOADS):
        if "stack_cpu" in details:
            cells = _cells(grouped(details["cpu"]), 1, 2)
            rows.append([f"`{name}` {stack}", *cells, f"{details['foreign_cpu']:.2f}"])
    return head, rows


def floor(content: Content) -> tuple[list[str], list[list[str]]]:
    """Return a table: what the steps that no task can do without cost by themselves."""
    rows = [
        [found["what"], f"{1000 * found['cpu']:.2f}", f"{1000 * found['seconds']:.2f}"]
        for found in content.get("floor", {}).values()
    ]
    return ["", "CPU ms", "ms"], rows


def _each(content: Content, names: Iterable[str]) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    for name in names:
        details = content["cases"].get(name, {}).get("details", {})
        for stack in STACKS:
            if stack in details:
                yield name, stack, details[stack]


def _cells(found: Mapping[str, float], factor: float, digits: int) -> list[str]:
    values = [found.get(name, 0.0) * factor for name in (*_SHOWN, REST)]
    return [f"{value:.{digits}f}" for value in (*values, sum(values))]
