"""The simulated day as charts (SVG), in the manner of `tests.benchmarks.charts`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.scaling.parts import Outcome
from tests.benchmarks.scaling.traces import DAY, Trace

_COLOURS = {"keda": "#9aa5b1", "airlane": "#1769aa"}
_NAMES = {"keda": "chart's rule, stock pools", "airlane": "airlane's planner"}
_PAPER, _INK, _GRID = "#ffffff", "#1f2933", "#e3e7eb"
#: Seconds that a point of the day's chart stands for: every look would make a file of a megabyte.
_BIN = 300.0
_BINS = int(DAY / _BIN)


def draw(
    content: Mapping[str, Any],
    trace: Trace,
    shown: Mapping[str, Outcome],
    folder: Path,
    stem: str,
) -> dict[str, str]:
    """Draw the charts; return the title and file name of each."""
    import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]

    mpl.rcParams["svg.hashsalt"] = "airlane"
    found = {}
    for name, title, figure in (
        (
            "judged",
            f"Promise kept and host-hours, days of shape {trace.day.shape}",
            _judged(content),
        ),
        ("day", f"Hosts through the day ({trace.day})", _day(trace, shown)),
    ):
        figure.suptitle(title, fontsize=11, fontweight="bold", color=_INK)
        file = f"{stem}-{name}.svg"
        # without a date or random ids, so that the same figures give the same file
        figure.savefig(
            *(folder / file,),
            **{"format": "svg", "metadata": {"Date": None}, "bbox_inches": "tight"},
            pad_inches=0.15,
        )
        found[title] = file
    return found


def _figure(rows: int, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]

    # a background of its own: black letters on a dark page could not be read
    figure = Figure(figsize=(8.5, height), facecolor=_PAPER, edgecolor=_PAPER)
    axes = figure.subplots(rows, 1, squeeze=False, sharex=rows > 1)[:, 0]
    for one in axes:
        one.set_facecolor(_PAPER)
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", color=_GRID, linewidth=0.8)
        one.set_axisbelow(True)
        one.tick_params(labelsize=8)
    return figure, axes


def _judged(content: Mapping[str, Any]) -> Any:
    """Draw a point for each side: up is more promises kept, left is fewer host-hours."""
    figure, (axes,) = _figure(1, 4.2)
    for name, side in content["sides"].items():
        colour = _COLOURS.get(name, "#cbd2d9")
        days = list(side["days"].values())
        if name in _COLOURS:
            axes.scatter(
                [one["host_hours"] for one in days],
                [100 * one["kept"] for one in days],
                color=colour,
                s=12,
                alpha=0.5,
            )
        of = side["mean"]
        axes.scatter([of["host_hours"]], [100 * of["kept"]], color=colour, s=60, zorder=3)
        axes.annotate(
            side["title"],
            (of["host_hours"], 100 * of["kept"]),
            textcoords="offset points",
            xytext=(7, 4),
            fontsize=8,
            color=_INK,
            fontweight="bold" if name == "airlane" else "normal",
        )
    axes.axhline(95, color=_INK, linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    # less than a decade is labelled by minor ticks
    for formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        formatter(lambda value, _place: f"{value:g}")
    axes.set_xlabel("host-hours a day (logarithmic), less is better", fontsize=8)
    axes.set_ylabel("sign-ups with every promise kept, %", fontsize=8)
    figure.text(
        *(0.5, -0.04, "Large: mean of all days. Small: each day. Dashed: what is promised, 95 %."),
        **{"ha": "center", "fontsize": 8, "color": "#555f69"},
    )
    return figure


def _day(trace: Trace, shown: Mapping[str, Outcome]) -> Any:
    figure, axes = _figure(4, 8.5)
    for line, queue in zip(axes[:2], ("onboarding", "batch"), strict=True):
        work: Counter[int] = Counter()
        for job in trace.jobs:
            if job.queue == queue:
                work[int(job.time // _BIN)] += sum(sum(stage) for stage in job.stages)
        slots = [work[index] / _BIN for index in range(_BINS)]
        line.stairs(slots, _hours(range(_BINS + 1)), fill=True, color="#cbd2d9", linewidth=0)
        line.set_ylabel(f"{queue}: work,\nslots on average", fontsize=8)
    for line, worker_class in zip(axes[2:], ("onboarding", "batch"), strict=True):
        for name, outcome in shown.items():
            line.step(
                _hours(range(_BINS)),
                _mean_hosts(outcome, worker_class),
                where="post",
                color=_COLOURS[name],
                label=_NAMES[name],
                linewidth=1.2,
            )
        for fault in trace.faults:
            if fault.worker_class == worker_class:
                line.axvline(fault.time / 3600, color="#c0392b", linewidth=1, linestyle=":")
        line.set_ylabel(f"{worker_class}:\nhosts", fontsize=8)
        line.set_ylim(bottom=0)
    for place, (name, outcome) in enumerate(shown.items()):
        # below the hosts of the class: when sign-ups came whose promise was broken
        broken = sorted({int(time // _BIN) for time in outcome.broken})
        axes[2].plot(
            _hours(broken),
            [-0.4 - 0.5 * place] * len(broken),
            "|",
            color=_COLOURS[name],
            markersize=5,
        )
    axes[2].set_ylim(bottom=-1.5)
    axes[2].legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    axes[-1].set_xlim(0, DAY / 3600)
    axes[-1].set_xlabel(
        "hour of the day; means of 5 minutes. Red: a host stops taking work.\n"
        "Strokes: 5 minutes in which sign-ups came whose promise was broken.",
        fontsize=8,
    )
    return figure


def _hours(bins: Iterable[int]) -> list[float]:
    return [index * _BIN / 3600 for index in bins]


def _mean_hosts(outcome: Outcome, worker_class: str) -> list[float]:
    """Return a class's hosts in each bin, as the mean of its looks: the area stays host-hours."""
    looks: Counter[int] = Counter()
    hosts: Counter[int] = Counter()
    for time, counts in outcome.hosts:
        looks[int(time // _BIN)] += 1
        hosts[int(time // _BIN)] += counts.get(worker_class, 0)
    return [hosts[index] / max(1, looks[index]) for index in range(_BINS)]
