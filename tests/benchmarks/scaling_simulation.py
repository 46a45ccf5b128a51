"""A simulated day of load: promises kept and host-hours, planner against the Helm chart's rule.

`python -m tests.benchmarks.scaling_simulation` judges on days that the planner's rules were not
chosen on (`scaling.traces` says which), and writes a page, JSON and two charts; `--tune` compares
rules on the other days. Exit code 1 when the planner is not better on one and at least equal on
the other: over all days, with hosts that get stuck and without, and on the days of each shape.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from airflow_config import queues
from airflow_config.place import ROOT
from tests.benchmarks.scaling import charts
from tests.benchmarks.scaling.parts import Outcome
from tests.benchmarks.scaling.scalers import Fixed, KedaRule, Planner
from tests.benchmarks.scaling.simulated_fleet import Pools, Scaler, SimulatedFleet
from tests.benchmarks.scaling.traces import JUDGING, TUNING, Day, trace
from workers.scaling_rules import Rules

#: Slots of Airflow's `default_pool`; `[core] parallelism` is taken to be above it, although the
#: default, 32, would hold back the stock side long before.
DEFAULT_POOL, DEFAULT_PARALLELISM = 128, 32
STOCK = Pools(shared=DEFAULT_POOL, lends=False)
LATE = Pools(shared=None, lends=True)
#: What counts as equal: shares of sign-ups, of host-hours. Other days would move them by more.
EQUAL_SHARE, EQUAL_HOURS = 0.001, 0.01
#: Seconds within which batch tasks should start, for both sides alike.
BATCH_GOAL = 900.0


@dataclass(frozen=True)
class Side:
    """One of those that are compared."""

    title: str
    pools: Pools
    scaler: Callable[[], Scaler]


#: The two that are judged first; the rest says what each difference is worth.
SIDES = {
    "airlane": Side("airlane's planner", LATE, Planner),
    "keda": Side("chart's rule, stock pools", STOCK, KedaRule),
    "keda_parallelism": Side(
        "chart's rule, stock pools and parallelism",
        Pools(shared=DEFAULT_PARALLELISM, lends=False),
        KedaRule,
    ),
    "keda_late": Side("chart's rule, late binding", LATE, KedaRule),
    "planner_stock": Side("airlane's planner, stock pools", STOCK, Planner),
    "fixed": Side("all hosts all day", LATE, Fixed),
}

#: Rules that `--tune` tries, each by itself beside the defaults.
_CHOICES: dict[str, tuple[float, ...]] = {
    "headroom": (1.0, 1.5, 2.0, 2.5, 3.0),
    "lull_promised": (180.0, 300.0, 600.0, 900.0),
    "lull": (60.0, 120.0, 240.0, 480.0),
    "late_share": (0.1, 0.25, 0.5),
    "margin": (0.0, 0.25, 0.5),
    "clear": (900.0, 1_800.0, 2_700.0),
}


def figures(outcome: Outcome) -> dict[str, float]:
    """Return a day's figures; shares are between 0 and 1."""
    waits = sorted(outcome.batch_waits)
    signups = max(1, outcome.signups)
    return {
        "signups": outcome.signups,
        "kept": outcome.kept / signups,
        "kept_end_to_end": 1 - outcome.late_end / signups,
        "kept_task": 1 - outcome.late_task / signups,
        "kept_gap": 1 - outcome.late_gap / signups,
        "host_hours": sum(outcome.host_seconds.values()) / 3600,
        **{f"host_hours_{name}": s / 3600 for name, s in sorted(outcome.host_seconds.items())},
        "batch_in_time": sum(wait <= BATCH_GOAL for wait in waits) / max(1, len(waits)),
        "batch_wait_p95": waits[math.ceil(0.95 * len(waits)) - 1] if waits else 0.0,
        "killed": outcome.killed,
        "unfinished": outcome.unfinished,
    }


def simulate(side: str, day: Day, stuck: bool = True) -> Outcome:
    """Run a day with one of `SIDES`, with the hosts that get stuck or without."""
    chosen = SIDES[side]
    fleet = queues.load(ROOT / "queues.yaml")
    found = trace(day) if stuck else replace(trace(day), faults=())
    return SimulatedFleet(fleet, found, chosen.pools, chosen.scaler()).run()


def _day_figures(call: tuple[str, Day, bool]) -> dict[str, float]:
    return figures(simulate(*call))


def _tuned_figures(call: tuple[Rules, Day]) -> dict[str, float]:
    rules, day = call
    fleet = queues.load(ROOT / "queues.yaml")
    return figures(SimulatedFleet(fleet, trace(day), LATE, Planner(rules)).run())


def mean(days: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return each figure's mean over days; shares of sign-ups by the number of sign-ups."""
    total = max(1.0, sum(one["signups"] for one in days))
    return {
        name: sum(one[name] * one["signups"] for one in days) / total
        if name.startswith("kept")
        else sum(one.get(name, 0.0) for one in days) / len(days)
        for name in days[0]
    }


def verdict(ours: dict[str, float], theirs: dict[str, float]) -> tuple[bool, str]:
    """Say whether `ours` is better on both, or equal on one and better on the other."""
    share = ours["kept"] - theirs["kept"]
    hours = 1 - ours["host_hours"] / theirs["host_hours"]
    words = (
        f"promise kept {ours['kept']:.2%} against {theirs['kept']:.2%}, host-hours "
        f"{ours['host_hours']:.1f} against {theirs['host_hours']:.1f} a day ({-hours:+.1%})"
    )
    no_worse = share >= -EQUAL_SHARE and hours >= -EQUAL_HOURS
    return no_worse and (share > EQUAL_SHARE or hours > EQUAL_HOURS), words


def judge(days: Sequence[Day], jobs: int) -> dict[str, Any]:
    """Run all days with the two that are judged, with stuck hosts and without; the first shape's
    with the other sides too.
    """
    calls = list(itertools.product(("airlane", "keda"), days, (True, False)))
    first = [day for day in days if day.shape == days[0].shape]
    calls += [
        (side, day, True) for side in SIDES if side not in ("airlane", "keda") for day in first
    ]
    with ProcessPoolExecutor(jobs) as pool:
        found = dict(zip(calls, pool.map(_day_figures, calls), strict=True))

    def sides(names: Iterable[str], chosen: Sequence[Day], stuck: bool = True) -> dict[str, Any]:
        return {
            name: {
                "title": SIDES[name].title,
                "mean": mean([found[name, day, stuck] for day in chosen]),
                "days": {str(day): found[name, day, stuck] for day in chosen},
            }
            for name in names
        }

    two = ("airlane", "keda")
    shapes = dict.fromkeys(day.shape for day in days)
    return {
        "days": [str(day) for day in days],
        "tuned_on": [str(day) for day in TUNING],
        "judged": sides(two, days),
        "healthy": sides(two, days, stuck=False),
        "shapes": {shape: sides(two, [d for d in days if d.shape == shape]) for shape in shapes},
        "sides": sides(SIDES, first),
    }


def verdicts(content: dict[str, Any]) -> Iterable[tuple[bool, str]]:
    """Yield each comparison that counts: whether the planner is better, and in words."""
    compared = {"all days": content["judged"], "no host stuck": content["healthy"]}
    compared |= {f"days of shape {shape}": found for shape, found in content["shapes"].items()}
    for which, found in compared.items():
        better, text = verdict(found["airlane"]["mean"], found["keda"]["mean"])
        yield better, f"{which}: {'better' if better else 'NOT BETTER'}: {text}"


def tune(days: Sequence[Day], jobs: int) -> Iterable[str]:
    """Compare rules on the days for tuning; yield a line each, the defaults first."""
    tried = [("defaults", Rules())]
    for name, values in _CHOICES.items():
        tried += [
            (f"{name}={value:g}", replace(Rules(), **{name: value}))
            for value in values
            if value != getattr(Rules(), name)
        ]
    calls = [(rules, day) for _, rules in tried for day in days]
    with ProcessPoolExecutor(jobs) as pool:
        found = iter(list(pool.map(_tuned_figures, calls)))
    yield f"{'rules':<24}{'kept':>9}{'worst day':>11}{'host-hours':>12}{'batch p95':>11}"
    for label, _ in tried:
        made = [next(found) for _ in days]
        of = mean(made)
        worst = min(one["kept"] for one in made)
        yield (
            f"{label:<24}{of['kept']:>9.2%}{worst:>11.2%}{of['host_hours']:>12.1f}"
            f"{of['batch_wait_p95']:>9.0f} s"
        )


_HEAD = (
    "| Side | Promise kept | end to end | task | gap | Host-hours | Batch within 15 min "
    "| Batch wait p95 | Killed |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
)


def _line(side: dict[str, Any]) -> str:
    of = side["mean"]
    return (
        f"| {side['title']} | {of['kept']:.2%} | {of['kept_end_to_end']:.2%} "
        f"| {of['kept_task']:.2%} | {of['kept_gap']:.2%} | {of['host_hours']:.1f} "
        f"| {of['batch_in_time']:.2%} | {of['batch_wait_p95']:.0f} s | {of['killed']:.1f} |"
    )


def page(content: dict[str, Any], pictures: dict[str, str]) -> str:
    """Return the results as Markdown."""
    ours, theirs = (content["judged"][side]["days"] for side in ("airlane", "keda"))
    lines = [
        "# A simulated day: hosts by plan against hosts by the Helm chart's rule",
        "",
        "Made by `python -m tests.benchmarks.scaling_simulation`; the same figures each time.",
        "",
        *(f"![{title}]({file})\n" for title, file in pictures.items()),
        "The rule of Airflow's Helm chart: `ceil((queued + running) / concurrency)` hosts, with "
        "one pool of 128 slots for all queues, a worker set and that rule for each queue. "
        "Promise kept: sign-ups of which end to end, each task and each gap were in time. "
        "Both have the same time to boot (75 to 120 s) and the same 0.3 s between dependent tasks.",
        "",
        f"Days that count: {', '.join(content['days'])}. On none of them was a rule chosen; days "
        f"for that are {', '.join(content['tuned_on'])}. `tests/benchmarks/scaling/traces.py` says "
        "what the shapes are. Each day a host of `onboarding` and one of `batch` stop taking work, "
        "and look healthy.",
        "",
        *(f"- {text}" for _, text in verdicts(content)),
        "",
        "## All days",
        "",
        *_HEAD,
        *(_line(side) for side in content["judged"].values()),
        "",
        "The same without a host that gets stuck:",
        "",
        *_HEAD,
        *(_line(side) for side in content["healthy"].values()),
        "",
    ]
    for shape, found in content["shapes"].items():
        lines += [f"## Shape {shape}", "", *_HEAD, *map(_line, found.values()), ""]
    lines += [
        f"## What each difference is worth (shape {next(iter(content['shapes']))})",
        "",
        *_HEAD,
        *(_line(side) for side in content["sides"].values()),
        "",
        "## Each day",
        "",
        "| Day | Kept, airlane | Kept, chart | Hours, airlane | Hours, chart |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {day} | {ours[day]['kept']:.2%} | {theirs[day]['kept']:.2%} "
            f"| {ours[day]['host_hours']:.1f} | {theirs[day]['host_hours']:.1f} |"
            for day in ours
        ),
        "",
    ]
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(words: Sequence[str] | None = None) -> int:
    """Run the simulation."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scaling_simulation")
    parser.add_argument("--tune", action="store_true", help="compare rules on the days for it")
    parser.add_argument("--days", type=int, default=len(JUDGING), help="fewer days, for a look")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args(words)
    if chosen.tune:
        for line in tune(TUNING[: chosen.days], chosen.jobs):
            _say(line)
        return 0
    if find_spec("matplotlib") is None:
        parser.error(
            "expected matplotlib for the charts, found none; a simulation takes minutes. Fix: make "
            "bench ARGS=--list, which installs it, then again"
        )
    days = JUDGING[: max(1, chosen.days)]
    content = judge(days, chosen.jobs)
    chosen.out.mkdir(parents=True, exist_ok=True)
    shown = {side: simulate(side, days[0]) for side in ("airlane", "keda")}
    pictures = charts.draw(content, trace(days[0]), shown, chosen.out, "scaling")
    (chosen.out / "scaling.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    (chosen.out / "scaling.md").write_text(page(content, pictures), encoding="utf-8")
    found = list(verdicts(content))
    for _, text in found:
        _say(text)
    return 0 if all(better for better, _ in found) else 1


if __name__ == "__main__":
    sys.exit(main())
