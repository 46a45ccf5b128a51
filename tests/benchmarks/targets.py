"""What the project set out to reach, and what a results file says of each."""

from __future__ import annotations

import math
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
_LOADS = {
    "chain6_flood_10s": "beside 800 tasks of 10 s",
    "chain6_flood_1s": "beside 1,980 tasks of 1 s",
    "chain6_flood_0s": "beside 5,000 tasks of 0 s",
    "chain6_cron200": "beside 200 jobs each minute",
    "growth_waiting_20k": "20,000 waiting tasks",
    "growth_runs_1000": "1,000 running DagRuns",
    "growth_db_1m": "1,000,000 old task instances",
}
#: Where airlane was measured idle right beside them.
_IDLE = {
    **{case: f"chain6_idle_beside_{case.rpartition('_')[2]}" for case in _FLOODS},
    "growth_waiting_20k": "growth_waiting_0",
    "growth_runs_1000": "growth_runs_0",
    "growth_db_1m": "growth_db_0",
}


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

    def both(self, case: str, figure: str = "p50") -> tuple[float | None, float | None]:
        return self.get(case, "stock", figure), self.get(case, "airlane", figure)

    def samples(self, case: str, stack: str) -> list[float]:
        details = self._cases.get(case, {}).get("details", {}).get(stack, {})
        return [value for value in details.get("samples", ()) if value is not None]

    def detail(self, case: str, key: str) -> Any:
        return self._cases.get(case, {}).get("details", {}).get("airlane", {}).get(key)

    def target(
        self,
        what: str,
        cases: tuple[str, ...],
        *,
        measured: str,
        target: str,
        met: bool,
        figure: str = "p50",
        unit: str = " s",
    ) -> Target:
        """Return a target whose stacks' figures are those of the first case."""
        stock, airlane = (
            "" if value is None else f"{number(value)}{unit}"
            for value in self.both(cases[0], figure)
        )
        return Target(what, cases, stock, airlane, measured, target, met)


def _faster(known: _Known) -> Iterator[Target]:
    for case, what, least in (
        ("chain6_idle", "6 trivial tasks, idle, p50", 15),
        ("chain40_idle", "40 light tasks, idle, p50", 13.5),
    ):
        stock, airlane = known.both(case)
        if stock and airlane:
            yield known.target(
                what,
                (case,),
                measured=f"{number(stock / airlane)}x faster",
                target=f">= {least}x",
                met=stock / airlane >= least,
            )
    p50, p95 = (known.get("chain6_idle", "airlane", figure) for figure in ("p50", "p95"))
    if p50 and p95:
        yield known.target(
            "6 trivial tasks, idle, p95",
            ("chain6_idle",),
            figure="p95",
            measured=f"{p95 / p50:.2f} x p50",
            target="<= 1.3 x p50",
            met=p95 <= 1.3 * p50,
        )


def _steady(known: _Known) -> Iterator[Target]:
    """Beside floods and whatever grows, against airlane's own idle p95.

    That of right beside it where there is one: a machine drifts through the hour of a benchmark.
    """
    whole = known.get("chain6_idle", "airlane", "p95")
    for case, load in _LOADS.items():
        p95 = known.get(case, "airlane", "p95")
        near = _IDLE.get(case, "")
        beside = known.get(near, "airlane", "p95")
        idle = beside or whole
        if not idle or not p95:
            continue
        loads = (known.detail(case, f"{who}_cpu") for who in ("stack", "benchmark", "foreign"))
        full = sum(load or 0 for load in loads) >= _FULL * known.cores
        most = 1.5 if case in _FLOODS and full else 1.25
        measured = f"{p95 / idle:.2f} x its own idle p95"
        if beside and whole:
            measured += f" beside it ({p95 / whole:.2f} x `chain6_idle`'s)"
        yield known.target(
            f"6 trivial tasks, {load}, p95",
            (case, near if beside else "chain6_idle"),
            figure="p95",
            measured=measured,
            target=f"<= {most} x" + (" (the load fills the CPU)" if most > 1.25 else ""),
            met=p95 <= most * idle,
        )


def _floods(known: _Known) -> Iterator[Target]:
    for case, end in _FLOODS.items():
        beside, alone = f"flood_throughput{end}", f"flood_throughput_alone{end}"
        stock, own = known.both(beside)
        own_alone = known.get(alone, "airlane", "p50")
        if not own or not own_alone:
            continue
        yield known.target(
            f"The batch work's own throughput, {_LOADS[case].removeprefix('beside ')}",
            (beside, alone),
            unit=" /s",
            measured=f"{100 * own / own_alone:.0f} % of alone",
            target=">= 80 % of alone, >= stock's",
            met=own / own_alone >= 0.8 and (stock is None or own >= stock),
        )


def _talk(known: _Known) -> Iterator[Target]:
    gaps = {stack: known.samples("talk_gap", stack) for stack in ("stock", "airlane")}
    if gaps["airlane"]:
        mean = {stack: f"{number(fmean(x))} s" if x else "" for stack, x in gaps.items()}
        yield Target(
            what="The talk's load: gap between tasks, mean",
            cases=("talk_gap",),
            stock=mean["stock"],
            airlane=mean["airlane"],
            measured=mean["airlane"],
            target="<= 0.1 s",
            met=fmean(gaps["airlane"]) <= 0.1,
        )
    for case, what, most in (
        ("talk_gap", "The talk's load: gap between tasks, p95", 0.5),
        ("talk_end_to_end", "The talk's load: end to end, p95", 180),
        ("event_to_first_task", "From an event to its first task, idle, p95", 0.15),
    ):
        p95 = known.get(case, "airlane", "p95")
        if p95:
            yield known.target(
                what,
                (case,),
                figure="p95",
                measured=f"{number(p95)} s",
                target=f"<= {most} s",
                met=p95 <= most,
            )


def _costs(known: _Known) -> Iterator[Target]:
    for case, what, unit, target, met in (
        ("throughput", "Tasks that do nothing, each second", " /s", ">= 2 x", (2, math.inf)),
        ("cpu_per_task", "CPU of the whole stack for such a task", " CPU s", "<= 0.5 x", (0, 0.5)),
        ("idle_cpu", "CPU of the idle stack", " cores", "below stock's", (0, 0.999)),
    ):
        stock, airlane = known.both(case)
        if stock and airlane is not None:
            yield known.target(
                what,
                (case,),
                unit=unit,
                measured=f"{airlane / stock:.2f} x stock's",
                target=target,
                met=met[0] <= airlane / stock <= met[1],
            )


_ALL = (_faster, _steady, _floods, _talk, _costs)
