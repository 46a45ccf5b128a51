"""What the project set out to reach, and what a results file says of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

Content = Mapping[str, Any]

#: A machine that is busier than this share of its cores counts as full.
_FULL = 0.8
#: The floods, and the end of the names of their throughput's cases.
_FLOODS = {
    "chain6_flood_10s": "_10s",
    "chain6_flood_1s": "",
    "chain6_flood_0s": "_0s",
    "chain6_cron200": "_cron200",
}
_GROWTH = ("growth_waiting_20k", "growth_runs_1000", "growth_db_1m")


@dataclass(frozen=True)
class Target:
    """One target and how far it was reached.

    Parameters
    ----------
    what
        In words.
    cases
        Where its figures are from.
    stock, airlane
        What was measured.
    measured, target
        The figure that is judged, and what it should be.
    met
        Whether it is.
    """

    what: str
    cases: tuple[str, ...]
    stock: str
    airlane: str
    measured: str
    target: str
    met: bool


def number(value: float) -> str:
    """Return a figure with three digits that matter."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def targets(content: Content) -> list[Target]:
    """Return the targets that a results file has figures for."""
    known = _Known(content)
    return [target for found in _ALL for target in found(known)]


class _Known:
    """The figures of a results file."""

    def __init__(self, content: Content) -> None:
        self._cases = content["cases"]
        self.cores = content["machine"]["cores"]

    def get(self, case: str, stack: str, figure: str) -> float | None:
        value = (self._cases.get(case, {}).get(stack) or {}).get(figure)
        return None if value is None else float(value)

    def detail(self, case: str, key: str) -> Any:
        return self._cases.get(case, {}).get("details", {}).get("airlane", {}).get(key)

    def shown(self, case: str, stack: str, figure: str = "p50", unit: str = " s") -> str:
        value = self.get(case, stack, figure)
        return "" if value is None else f"{number(value)}{unit}"


def _faster(known: _Known) -> Iterator[Target]:
    for case, what, least in (
        ("chain6_idle", "6 trivial tasks, idle, p50", 15),
        ("chain40_idle", "40 light tasks, idle, p50", 13.5),
    ):
        stock, airlane = (known.get(case, stack, "p50") for stack in ("stock", "airlane"))
        if stock and airlane:
            yield Target(
                *(what, (case,), known.shown(case, "stock"), known.shown(case, "airlane")),
                *(f"{number(stock / airlane)}x faster", f">= {least}x", stock / airlane >= least),
            )
    p50, p95 = (known.get("chain6_idle", "airlane", figure) for figure in ("p50", "p95"))
    if p50 and p95:
        yield Target(
            *("6 trivial tasks, idle, p95", ("chain6_idle",)),
            *(known.shown("chain6_idle", stack, "p95") for stack in ("stock", "airlane")),
            *(f"{p95 / p50:.2f} x p50", "<= 1.3 x p50", p95 <= 1.3 * p50),
        )


def _steady(known: _Known) -> Iterator[Target]:
    """Beside floods and whatever grows, against airlane's own idle p95."""
    idle = known.get("chain6_idle", "airlane", "p95")
    words = {
        "chain6_flood_10s": "beside 800 tasks of 10 s",
        "chain6_flood_1s": "beside 1,980 tasks of 1 s",
        "chain6_flood_0s": "beside 5,000 tasks of 0 s",
        "chain6_cron200": "beside 200 jobs each minute",
        "growth_waiting_20k": "20,000 waiting tasks",
        "growth_runs_1000": "1,000 running DagRuns",
        "growth_db_1m": "1,000,000 old task instances",
    }
    for case, load in words.items():
        p95 = known.get(case, "airlane", "p95")
        if idle and p95:
            loads = (known.detail(case, f"{who}_cpu") for who in ("stack", "benchmark", "foreign"))
            full = sum(load or 0 for load in loads) >= _FULL * known.cores
            most = 1.5 if case in _FLOODS and full else 1.25
            note = " (the load fills the CPU)" if most > 1.25 else ""
            yield Target(
                *(f"6 trivial tasks, {load}, p95", (case, "chain6_idle")),
                *(known.shown(case, stack, "p95") for stack in ("stock", "airlane")),
                *(f"{p95 / idle:.2f} x its own idle p95", f"<= {most} x{note}"),
                p95 <= most * idle,
            )


def _floods(known: _Known) -> Iterator[Target]:
    for case, end in _FLOODS.items():
        beside, alone = f"flood_throughput{end}", f"flood_throughput_alone{end}"
        own, own_alone = (known.get(name, "airlane", "p50") for name in (beside, alone))
        if not own or not own_alone:
            continue
        stock = known.get(beside, "stock", "p50")
        share = own / own_alone
        yield Target(
            f"The load's own throughput in `{case}`",
            (beside, alone),
            *(known.shown(beside, stack, unit=" /s") for stack in ("stock", "airlane")),
            f"{100 * share:.0f} % of alone",
            ">= 80 % of alone, >= stock's",
            share >= 0.8 and (stock is None or own >= stock),
        )


def _talk(known: _Known) -> Iterator[Target]:
    samples = known.detail("talk_gap", "samples")
    if samples:
        mean, p95 = fmean(samples), known.get("talk_gap", "airlane", "p95") or 0.0
        shown = known.shown("talk_gap", "stock", "p95")
        for what, value, most, stock in (
            ("mean", mean, 0.1, ""),
            ("p95", p95, 0.5, shown),
        ):
            yield Target(
                *(f"The talk's load: gap between tasks, {what}", ("talk_gap",), stock),
                *(f"{number(value)} s", f"{number(value)} s", f"<= {most} s", value <= most),
            )
    whole = known.get("talk_end_to_end", "airlane", "p95")
    if whole:
        yield Target(
            *("The talk's load: end to end, p95", ("talk_end_to_end",)),
            *(known.shown("talk_end_to_end", stack, "p95") for stack in ("stock", "airlane")),
            *(f"{number(whole)} s", "<= 180 s", whole <= 180),
        )


def _costs(known: _Known) -> Iterator[Target]:
    for case, what, unit, least in (
        ("throughput", "Tasks that do nothing, each second", " /s", 2.0),
        ("cpu_per_task", "CPU of the whole stack for such a task", " CPU s", 0.5),
        ("idle_cpu", "CPU of the idle stack", " cores", 1.0),
    ):
        stock, airlane = (known.get(case, stack, "p50") for stack in ("stock", "airlane"))
        if not stock or airlane is None:
            continue
        more = least > 1
        ratio = airlane / stock
        target = f">= {least:g} x" if more else f"<= {least:g} x" if least < 1 else "below stock's"
        yield Target(
            *(what, (case,)),
            *(known.shown(case, stack, unit=unit) for stack in ("stock", "airlane")),
            *(f"{ratio:.2f} x stock's", target),
            ratio >= least if more else ratio <= least if least < 1 else ratio < 1,
        )
    first = known.get("event_to_first_task", "airlane", "p95")
    if first:
        yield Target(
            *("From an event to its first task, idle, p95", ("event_to_first_task",)),
            *(known.shown("event_to_first_task", stack, "p95") for stack in ("stock", "airlane")),
            *(f"{number(first)} s", "<= 0.15 s", first <= 0.15),
        )


_ALL = (_faster, _steady, _floods, _talk, _costs)
