"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.benchmarks import limits
from tests.benchmarks.stages import STAGES
from tests.benchmarks.targets import number, targets

Content = Mapping[str, Any]
_DURABILITY = {
    "stock": (
        "every state, in PostgreSQL with synchronous commit; a killed worker's task is noticed "
        "after 300 s, and runs again if its author gave it retries"
    ),
    "airlane": (
        "every state, in PostgreSQL with synchronous commit; a killed worker's task is noticed "
        "within a minute, and runs again as its queue has it"
    ),
}
_STACKS = ("stock", "airlane")


def markdown(content: Content, charts: Mapping[str, str]) -> str:
    """Return the page of one results file.

    Parameters
    ----------
    content
        The results file.
    charts
        Title and file name of each chart beside the page.
    """
    about, machine = content["about"], content["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    sections = [
        f"# Benchmark of {about['date'][:10]}, commit {about['commit']}",
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']} GB, "
        f"{machine['system']}. {versions}.",
        "How it is measured: [docs/benchmarks.md](../../../docs/benchmarks.md). Times are seconds. "
        "*Better* is how many times better airlane's median is than stock's.",
        *_opening(charts),
        *_section(
            "## Targets\n\nWhat the project set out to reach, and what this run says of it. A "
            "machine that is busier than 80 % of its cores counts as filled.",
            _targets(content),
        ),
        "## Cases\n\n*n* is the number of samples; with few of them p95 is close to the largest. "
        "Where stock has no figures, only airlane's own growth is asked for, or stock has no such "
        "part.\n\n" + _cases(content),
        *(f"![{title}]({file})" for title, file in list(charts.items())[1:]),
        *_section("## Stages\n\nMedian of each stage, milliseconds.", _stages(content)),
        *_section(
            "## CPU\n\nCPU milliseconds for each task that does nothing, by part.",
            _cpu_per_task(content),
        ),
        *_section(
            "## What limits it\n\nWho takes the CPU. First, CPU milliseconds for each step of a "
            "chain on an idle stack, with what the stack takes when it does nothing, in the pauses "
            "between chains too. Where `batch` lends its slots, it does urgent steps; stock's one "
            "worker stands under urgent.",
            _table(*limits.per_step(content)),
        ),
        *_section(
            "Second, the cores that each part takes beside urgent work, and everything else on the "
            f"machine, which has {machine['cores']}.",
            _table(*limits.by_load(content)),
        ),
        *_section(
            "Third, the floor: what the steps that no task in a process of its own can do without "
            "cost by themselves, on this machine, each alone.",
            _table(*limits.floor(content)),
        ),
        *_section(
            "## Load while measured\n\nCores, that is CPU seconds a second: the stack's own, the "
            "benchmark's, and everything else on the machine.",
            _loads(content),
        ),
    ]
    if content["peers"]:
        sections.append(
            "## Other programs\n\nThe same six steps on other systems, on the same machine. A "
            "figure is worth what stands beside it: what a step is isolated from, and what is left "
            "of the work when its worker is killed (`kill -9` after the second step).\n\n"
            + _peers(content)
        )
    if notes := _notes(content):
        sections.append("## Notes\n\n" + notes)
    if content["errors"]:
        lines = "\n".join(f"- {error.splitlines()[0]}" for error in content["errors"])
        sections.append("## Not measured\n\n" + lines)
    return "\n\n".join(sections) + "\n"


def _opening(charts: Mapping[str, str]) -> list[str]:
    """Return what tells a stranger what this is about."""
    words = (
        "airlane is an Airflow whose urgent tasks do not wait behind batch work. Here it is "
        "measured beside *stock* Airflow: the same versions with their default settings, on the "
        "same machine, in the same run, in turn. A small urgent job, six trivial tasks in a row, "
        "runs on an idle stack and beside floods of batch work."
    )
    return [words, *(f"![{title}]({file})" for title, file in list(charts.items())[:1])]


def _targets(content: Content) -> str:
    rows = [
        [
            *(target.what, target.stock, target.airlane, target.measured, target.target),
            "**yes**" if target.met else "no",
        ]
        for target in targets(content)
    ]
    return _table(["", "stock", "airlane", "measured", "target", "met"], rows, words=3)


def _section(head: str, table: str) -> list[str]:
    """Return a section, or nothing when its table is empty."""
    return [f"{head}\n\n{table}"] if table else []


def _table(head: list[str], rows: list[list[str]], words: int = 0) -> str:
    """Return a table whose first column, and as many of the last as hold words, begin at the left.

    Empty without rows.
    """
    if not rows:
        return ""
    figures = len(head) - 1 - words
    lines = [
        head,
        ["---", *("---:" for _ in range(figures)), *("---" for _ in range(words))],
        *rows,
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cases(content: Content) -> str:
    head = ["Case", "", *(f"{stack} {word}" for stack in _STACKS for word in ("p50", "p95", "n"))]
    rows = []
    for name, case in content["cases"].items():
        figures = []
        for stack in _STACKS:
            found = case.get(stack)
            figures += (
                [number(found["p50"]), number(found["p95"]), str(found["n"])]
                if found and found["n"]
                else ["", "", ""]
            )
        better = "" if case["ratio"] is None else f"{case['ratio']:.3g}x"
        rows.append([f"{case['title']} (`{name}`)", case["unit"], *figures, better])
    return _table([*head, "Better"], rows)


def _stages(content: Content) -> str:
    rows = []
    for name, case in content["cases"].items():
        for stack in _STACKS:
            if stages := case["details"].get(stack, {}).get("stages"):
                cells = [
                    f"{stages[s]['p50'] * 1000:.0f}" if stages.get(s, {}).get("n") else ""
                    for s in STAGES
                ]
                rows.append([f"`{name}` {stack}", *cells])
    return _table(["", *STAGES], rows)


def cpu_per_task(content: Content) -> dict[str, dict[str, float]]:
    """Return the CPU seconds for a task of each stack by part, workers taken together."""
    details = content["cases"].get("cpu_per_task", {}).get("details", {})
    found: dict[str, dict[str, float]] = {}
    for stack in _STACKS:
        for part, seconds in details.get(stack, {}).get("cpu_per_task", {}).items():
            parts = found.setdefault(stack, {})
            name = "workers" if part.startswith("worker-") else part
            parts[name] = parts.get(name, 0.0) + seconds
    return found


def _cpu_per_task(content: Content) -> str:
    found = cpu_per_task(content)
    if not found:
        return ""
    names = sorted(
        {name for parts in found.values() for name in parts},
        key=lambda name: -max(parts.get(name, 0.0) for parts in found.values()),
    )
    rows = [
        [name, *(f"{parts.get(name, 0.0) * 1000:.1f}" for parts in found.values())]
        for name in names
    ]
    rows.append(["all", *(f"{sum(parts.values()) * 1000:.1f}" for parts in found.values())])
    return _table(["Part", *found], rows)


def _loads(content: Content) -> str:
    rows = []
    for name, case in content["cases"].items():
        for stack in _STACKS:
            details = case["details"].get(stack, {})
            if "stack_cpu" in details:
                loads = [details[k] for k in ("stack_cpu", "benchmark_cpu", "foreign_cpu")]
                rows.append([f"`{name}` {stack}", *(f"{load:.2f}" for load in loads)])
    return _table(["", "stack", "benchmark", "foreign"], rows)


def _peers(content: Content) -> str:
    own = {
        stack: {
            "version": content["versions"]["apache-airflow"],
            "chain6_idle": content["cases"].get("chain6_idle", {}).get(stack),
            "chain6_flood_2000": content["cases"].get("chain6_flood_10s", {}).get(stack),
            "isolation": "a process for each task",
            "durability": _DURABILITY[stack],
        }
        for stack in _STACKS
    }
    rows = []
    notes = ["stock, airlane: beside 800 batch tasks, not 2,000; after a kill not measured here."]
    for name, peer in {**own, **content["peers"]}.items():
        times = []
        for case in ("chain6_idle", "chain6_flood_2000"):
            found = peer.get(case)
            times += [number(found["p50"]), number(found["p95"])] if found else ["", ""]
        kill = peer.get("after_kill") or {}
        went_on = {True: "yes", False: "no"}.get(kill.get("went_on"), "")  # type: ignore[arg-type]
        if went_on == "yes":
            went_on += f", {number(kill['seconds'])} s"
        words = [str(peer.get(key) or "") for key in ("isolation", "durability")]
        rows.append([f"{name} {peer['version'] or ''}".strip(), *times, went_on, *words])
        if note := peer.get("note"):
            notes.append(f"{name}: {note}")
    table = _table(
        [
            "Seconds",
            *("idle p50", "idle p95", "beside 2,000 tasks p50", "beside 2,000 tasks p95"),
            *("goes on after kill -9", "what a step is isolated from", "what survives a kill"),
        ],
        rows,
        words=3,
    )
    return table + "\n\n" + "\n".join(f"- {note}" for note in notes)


def _notes(content: Content) -> str:
    return "\n".join(
        f"- `{name}`, {stack}: {note}"
        for name, case in content["cases"].items()
        for stack in _STACKS
        for note in case["details"].get(stack, {}).get("notes", ())
    )
