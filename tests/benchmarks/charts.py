"""The results as charts (SVG). Needs matplotlib, which only `make bench` installs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.stages import STAGES
from tests.benchmarks.tables import cpu_per_task, number

Content = Mapping[str, Any]
_COLOURS = {"stock": "#9aa5b1", "airlane": "#1769aa"}
_URGENT = {
    "chain6_idle": "idle",
    "chain6_flood_10s": "800 tasks\nof 10 s",
    "chain6_flood_1s": "1,980 tasks\nof 1 s",
    "chain6_flood_0s": "5,000 tasks\nof 0 s",
    "chain6_cron200": "200 jobs\na minute",
}
_GROWTH: dict[str, tuple[str, dict[str, float]]] = {
    "growth_waiting": ("waiting batch tasks", {"0": 0, "1k": 1e3, "5k": 5e3, "20k": 2e4}),
    "growth_runs": ("running DagRuns", {"10": 10, "100": 100, "1000": 1000}),
    "growth_db": ("old task instances", {"0": 0, "100k": 1e5, "1m": 1e6}),
}


def draw(content: Content, folder: Path, stem: str) -> dict[str, str]:
    """Draw what there are figures for; return the title and file name of each chart."""
    found = {}
    for name, (title, paint) in _CHARTS.items():
        figure = paint(content, title)
        if figure is None:
            continue
        file = f"{stem}-{name}.svg"
        # without a date or random ids, so that the same figures give the same file
        figure.savefig(folder / file, format="svg", metadata={"Date": None}, bbox_inches="tight")
        found[title] = file
    return found


def _axes(title: str, columns: int = 1, width: float = 7.5, height: float = 3.6) -> tuple[Any, Any]:
    import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]
    from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]

    mpl.rcParams["svg.hashsalt"] = "airlane"
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(1, columns, squeeze=False)[0]
    figure.suptitle(title, fontsize=11)
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _urgent(content: Content, title: str) -> Any:
    cases = {
        label: content["cases"][name] for name, label in _URGENT.items() if name in content["cases"]
    }
    if not cases:
        return None
    figure, (axes,) = _axes(title)
    for place, stack in enumerate(("stock", "airlane")):
        for index, case in enumerate(cases.values()):
            if not (found := case.get(stack)):
                continue
            x = index + (place - 0.5) * 0.38
            label = stack if index == 0 else None
            axes.bar(x, found["p50"], 0.36, color=_COLOURS[stack], label=label)
            axes.plot([x, x], [found["p50"], found["p95"]], color="#333333", linewidth=1)
            axes.annotate(
                number(found["p50"]),
                (x, found["p95"]),
                textcoords="offset points",
                xytext=(0, 3),
                ha="center",
                fontsize=8,
            )
    axes.set_yscale("log")
    axes.set_xticks(range(len(cases)), list(cases), fontsize=8)
    axes.set_ylabel("seconds: p50 (bar), p95 (line)", fontsize=8)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _stages(content: Content, title: str) -> Any:
    rows = [
        (f"{label} {stack}".replace("\n", " "), case["details"][stack]["stages"])
        for name, label in _URGENT.items()
        for stack in ("stock", "airlane")
        if (case := content["cases"].get(name)) and "stages" in case["details"].get(stack, {})
    ]
    if not rows:
        return None
    figure, (axes,) = _axes(title, height=0.6 + 0.38 * len(rows))
    # shares: stock beside a flood takes a hundred times as long as airlane idle
    totals = [sum(stage["p50"] for stage in found.values()) for _, found in rows]
    left = [0.0] * len(rows)
    for stage in STAGES:
        widths = [
            100 * found.get(stage, {"p50": 0.0})["p50"] / total
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
    known = {
        group: [
            (x, content["cases"][f"{group}_{end}"])
            for end, x in sizes.items()
            if f"{group}_{end}" in content["cases"]
        ]
        for group, (_, sizes) in _GROWTH.items()
    }
    known = {group: points for group, points in known.items() if points}
    if not known:
        return None
    figure, all_axes = _axes(title, columns=len(known), width=3.4 * len(known))
    for axes, (group, points) in zip(all_axes, known.items(), strict=True):
        for stack, colour in _COLOURS.items():
            line = [(x, case[stack]["p95"]) for x, case in points if case.get(stack)]
            if line:
                axes.plot(*zip(*line, strict=True), marker="o", color=colour, label=stack)
        axes.set_xscale("symlog", linthresh=10)
        axes.set_yscale("log")
        axes.set_xlabel(_GROWTH[group][0], fontsize=8)
        axes.tick_params(labelsize=7)
    all_axes[0].set_ylabel("chain6, p95, seconds", fontsize=8)
    all_axes[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure


def _cpu(content: Content, title: str) -> Any:
    found = cpu_per_task(content)
    if not found:
        return None
    figure, (axes,) = _axes(title, height=1.0 + 0.5 * len(found))
    names = sorted({name for parts in found.values() for name in parts})
    names.sort(key=lambda name: -max(parts.get(name, 0.0) for parts in found.values()))
    left = [0.0] * len(found)
    for name in names:
        widths = [parts.get(name, 0.0) * 1000 for parts in found.values()]
        axes.barh(range(len(found)), widths, left=left, label=name)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(found)), list(found), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("CPU milliseconds for a task that does nothing", fontsize=8)
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


_CHARTS: dict[str, tuple[str, Callable[[Content, str], Any]]] = {
    "urgent": ("Six urgent tasks in a row, idle and beside batch work", _urgent),
    "stages": ("Where the time of an urgent step goes", _stages),
    "growth": ("Six urgent tasks in a row, as everything grows", _growth),
    "cpu": ("CPU of the whole stack for a task", _cpu),
}
