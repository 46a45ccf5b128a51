"""The results as charts (SVG). Needs matplotlib, which only `make bench` installs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.stages import STAGES
from tests.benchmarks.tables import cpu_per_task

Content = Mapping[str, Any]
_COLOURS = {"stock": "#9aa5b1", "airlane": "#1769aa"}
_NAMES = {"stock": "stock Airflow", "airlane": "airlane"}
_PAPER, _INK, _GRID = "#ffffff", "#1f2933", "#e3e7eb"
_URGENT = {
    "chain6_idle": "no other\nwork",
    "chain6_flood_10s": "beside 800\ntasks of 10 s",
    "chain6_flood_1s": "beside 1,980\ntasks of 1 s",
    "chain6_flood_0s": "beside 5,000\ntasks of 0 s",
    "chain6_cron200": "beside 200 jobs\neach minute",
}
_GROWTH = {
    "growth_waiting": ("waiting batch tasks", ("0", "1k", "5k", "20k")),
    "growth_runs": ("running DagRuns", ("0", "10", "100", "1000")),
    "growth_db": ("old task instances in the database", ("0", "100k", "1m")),
}
_LONG = {"1k": "1,000", "5k": "5,000", "20k": "20,000", "1000": "1,000", "100k": "100,000",
         "1m": "1,000,000"}  # fmt: skip
#: CPU seconds for a task below which a part is not shown by itself.
_SMALL = 0.0025


def draw(content: Content, folder: Path, stem: str) -> dict[str, str]:
    """Draw what there are figures for; return the title and file name of each chart."""
    found = {}
    for name, (title, paint) in _CHARTS.items():
        figure = paint(content, title)
        if figure is None:
            continue
        file = f"{stem}-{name}.svg"
        # without a date or random ids, so that the same figures give the same file
        figure.savefig(
            *(folder / file,),
            **{"format": "svg", "metadata": {"Date": None}, "bbox_inches": "tight"},
            pad_inches=0.15,
        )
        found[title] = file
    return found


def _axes(title: str, columns: int = 1, width: float = 7.5, height: float = 3.6) -> tuple[Any, Any]:
    import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]
    from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]

    mpl.rcParams["svg.hashsalt"] = "airlane"
    # a background of its own: black letters on a dark page could not be read
    figure = Figure(figsize=(width, height), facecolor=_PAPER, edgecolor=_PAPER)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    figure.suptitle(title, fontsize=11, fontweight="bold", color=_INK)
    for one in axes:
        one.set_facecolor(_PAPER)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"


def _urgent(content: Content, title: str) -> Any:
    cases = {
        label: content["cases"][name] for name, label in _URGENT.items() if name in content["cases"]
    }
    if not cases:
        return None
    figure, (axes,) = _axes(title, height=4.2)
    highest = 0.0
    for place, stack in enumerate(("stock", "airlane")):
        label: str | None = _NAMES[stack]
        for index, case in enumerate(cases.values()):
            if not (found := case.get(stack)):
                continue
            x = index + (place - 0.5) * 0.4
            axes.bar(x, found["p50"], 0.36, color=_COLOURS[stack], label=label)
            label = None
            axes.plot([x, x], [found["p50"], found["p95"]], color=_INK, linewidth=1)
            axes.plot([x - 0.05, x + 0.05], [found["p95"]] * 2, color=_INK, linewidth=1)
            axes.annotate(
                _seconds(found["p50"]),
                (x, found["p95"]),
                textcoords="offset points",
                xytext=(0, 3),
                ha="center",
                fontsize=9,
                color=_INK,
                fontweight="bold" if stack == "airlane" else "normal",
            )
            highest = max(highest, found["p95"])
    axes.set_yscale("log")
    # room for the label of the highest one, and for the legend
    axes.set_ylim(0.1, highest * 5)
    axes.yaxis.set_major_formatter(lambda value, _place: f"{value:g}")
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xticks(range(len(cases)), list(cases), fontsize=9)
    axes.set_ylabel("seconds (logarithmic), less is better", fontsize=8)
    axes.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)
    figure.text(
        *(0.5, -0.05, "Bar and figure: median. Line: up to the 95th percentile."),
        **{"ha": "center", "fontsize": 8, "color": "#555f69"},
    )
    return figure


def _stages(content: Content, title: str) -> Any:
    rows = [
        (f"{label}, {stack}".replace("\n", " "), case["details"][stack]["stages"])
        for name, label in _URGENT.items()
        for stack in ("stock", "airlane")
        if (case := content["cases"].get(name)) and "stages" in case["details"].get(stack, {})
    ]
    if not rows:
        return None
    figure, (axes,) = _axes(title, height=0.6 + 0.38 * len(rows))
    # shares: stock beside a flood takes a hundred times as long as airlane idle
    totals = [sum(stage["p50"] or 0.0 for stage in found.values()) for _, found in rows]
    left = [0.0] * len(rows)
    for stage in STAGES:
        widths = [
            100 * (found.get(stage, {}).get("p50") or 0.0) / total
            for (_, found), total in zip(rows, totals, strict=True)
        ]
        if any(widths):
            axes.barh(range(len(rows)), widths, left=left, label=stage)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for place, total in enumerate(totals):
        axes.text(101, place, f"{total * 1000:,.0f} ms", va="center", fontsize=7)
    axes.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the sum of the stages' medians, %", fontsize=8)
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.1, 1))
    return figure


def _growth(content: Content, title: str) -> Any:
    cases = content["cases"]
    known = {
        group: [end for end in ends if f"{group}_{end}" in cases]
        for group, (_, ends) in _GROWTH.items()
    }
    known = {group: ends for group, ends in known.items() if ends}
    if not known:
        return None
    figure, all_axes = _axes(title, columns=len(known), width=3.2 * len(known))
    highest = 0.0
    for axes, (group, ends) in zip(all_axes, known.items(), strict=True):
        for stack, colour in _COLOURS.items():
            line = [
                (place, found["p95"])
                for place, end in enumerate(ends)
                if (found := cases[f"{group}_{end}"].get(stack))
            ]
            if not line:
                continue
            axes.plot(*zip(*line, strict=True), marker="o", color=colour, label=_NAMES[stack])
            for place, value in line:
                axes.annotate(
                    _seconds(value),
                    (place, value),
                    **{"textcoords": "offset points", "xytext": (0, 6), "ha": "center"},
                    **{"fontsize": 8, "color": _INK},
                )
                highest = max(highest, value)
        axes.set_xticks(range(len(ends)), [_LONG.get(end, end) for end in ends], fontsize=8)
        axes.set_xlim(-0.5, len(ends) - 0.5)
        axes.set_xlabel(_GROWTH[group][0], fontsize=9)
        axes.tick_params(labelsize=8)
    for axes in all_axes:
        # the same for all: they are one picture
        axes.set_yscale("log")
        axes.set_ylim(0.1, highest * 5)
        axes.yaxis.set_major_formatter(lambda value, _place: f"{value:g}")
        axes.grid(axis="y", color=_GRID, linewidth=0.8)
    all_axes[0].set_ylabel("p95, seconds (logarithmic)", fontsize=8)
    # a stack that is not in the first one is in another
    named = {
        label: handle
        for axes in all_axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    all_axes[0].legend(named.values(), named.keys(), frameon=False, fontsize=8, loc="upper left")
    figure.tight_layout()
    return figure


def _cpu(content: Content, title: str) -> Any:
    found = cpu_per_task(content)
    if not found:
        return None
    figure, (axes,) = _axes(title, height=1.0 + 0.5 * len(found))
    large = {n for parts in found.values() for n, seconds in parts.items() if seconds > _SMALL}
    found = {
        stack: {n: s for n, s in parts.items() if n in large}
        | {"other parts": sum(s for n, s in parts.items() if n not in large)}
        for stack, parts in found.items()
    }
    names = sorted({name for parts in found.values() for name in parts})
    names.sort(key=lambda name: -max(parts.get(name, 0.0) for parts in found.values()))
    left = [0.0] * len(found)
    for name in names:
        widths = [parts.get(name, 0.0) * 1000 for parts in found.values()]
        axes.barh(range(len(found)), widths, left=left, label=name)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for place, total in enumerate(left):
        axes.annotate(
            *(f"{total:.0f} ms", (total, place)),
            **{"textcoords": "offset points", "xytext": (4, 0), "va": "center", "fontsize": 8},
        )
    axes.set_xlim(0, max(left) * 1.12)
    axes.set_yticks(range(len(found)), [_NAMES[stack] for stack in found], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("CPU milliseconds for a task that does nothing", fontsize=8)
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


_CHARTS: dict[str, tuple[str, Callable[[Content, str], Any]]] = {
    "urgent": ("How long six urgent tasks in a row take", _urgent),
    "stages": ("Where the time of an urgent step goes (shares)", _stages),
    "growth": ("Six urgent tasks in a row, as everything grows", _growth),
    "cpu": ("CPU of the whole stack for a task", _cpu),
}
