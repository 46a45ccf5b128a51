"""The benchmark's options, and which groups they choose."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from airflow_config.problems import nearest
from tests.benchmarks import estimate, floor
from tests.benchmarks.peers.chain import MINUTES as PEER_MINUTES
from tests.benchmarks.plan import STACKS, Group


@dataclass(frozen=True)
class Options:
    """What was asked for.

    Parameters
    ----------
    quick
        A few minutes instead of an hour.
    cases
        Names of cases or groups; all that fit when empty.
    stacks
        In the order of their turns.
    home
        Where the stacks live; kept when it is named, else temporary.
    out
        The results file.
    peers
        Measure other programs too; a whole benchmark does.
    floor
        Measure what the steps of a task cost by themselves too; a whole benchmark does. Without
        `cases` or `peers` nothing else.
    render
        A results file to write the page and the charts of, without measuring.
    """

    quick: bool = False
    cases: tuple[str, ...] = ()
    stacks: tuple[str, ...] = STACKS
    home: Path | None = None
    out: Path | None = None
    peers: bool = False
    floor: bool = False
    render: Path | None = None

    @property
    def whole(self) -> bool:
        """Whether everything is measured, as results that are kept must be."""
        full = not self.quick and not self.cases and not self.floor
        return full and self.stacks == STACKS


def parse(words: Sequence[str], groups: Sequence[Group]) -> Options:
    """Read the command line; a wrong one ends the program with what is right."""
    known = names(groups)
    parser = argparse.ArgumentParser(
        prog="make bench",
        description="Measure airlane and stock Airflow on this machine, in turn.",
        epilog="Cases: " + ", ".join(known),
    )
    parser.add_argument("--quick", action="store_true", help="a few minutes: fewer cases, samples")
    parser.add_argument(
        "--case", action="append", default=[], metavar="NAME", help="only this one; repeatable"
    )
    parser.add_argument("--only", choices=STACKS, help="measure one stack, without the other")
    parser.add_argument("--home", type=Path, help="folder of the stacks, kept for the next call")
    parser.add_argument("--out", type=Path, help="the results file")
    parser.add_argument(
        "--peers", action="store_true", help="other programs too, as when everything is measured"
    )
    parser.add_argument(
        "--floor",
        action="store_true",
        help="only what the steps of a task cost by themselves, or that beside each --case",
    )
    parser.add_argument("--list", action="store_true", help="show the cases and end")
    parser.add_argument(
        "--render", type=Path, metavar="FILE", help="only write a results file's page and charts"
    )
    found = parser.parse_args(words)
    if found.list:
        print("\n".join(listing(groups)))  # noqa: T201
        parser.exit(0)
    for name in found.case:
        if name not in known:
            near = nearest(name, known)
            parser.error(f"--case: expected a case that --list shows, found {name}{near}")
    if found.render:
        _check_results(parser, found.render)
    return Options(
        quick=found.quick,
        cases=tuple(found.case),
        stacks=(found.only,) if found.only else STACKS,
        home=found.home.resolve() if found.home else None,
        out=found.out.resolve() if found.out else None,
        peers=found.peers,
        floor=found.floor,
        render=found.render,
    )


def _check_results(parser: argparse.ArgumentParser, path: Path) -> None:
    """End with an error when a page can't be made of a results file as it was made before."""
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        parser.error(f"--render: expected a results file, found {path}: {error.strerror}")
    except ValueError as error:
        parser.error(f"--render: expected a results file, found no JSON in {path}: {error}")
    if not isinstance(content, dict) or "cases" not in content:
        parser.error(f"--render: expected a results file with `cases`, found none in {path}")
    if find_spec("matplotlib") is None:
        parser.error(
            "--render: expected matplotlib for the page's charts, found none. Fix: make bench "
            "ARGS=--list installs it"
        )


def listing(groups: Sequence[Group]) -> list[str]:
    """Return the cases as `--list` shows them, with the minutes that a whole benchmark takes."""
    found = ["minutes  quick  case"]
    total = estimate.of_starts(groups, STACKS)
    for group in groups:
        seconds = estimate.of_group(group, STACKS, group.rounds, quick=False)
        total += seconds if group.whole else 0
        # the cases of a group are measured together
        shown = f"{seconds / 60:.1f}"
        for case in group.cases:
            mark = ("quick" if group.quick else "") if group.whole else "alone"
            alone = "" if case.stacks == STACKS else f", {case.stacks[0]} alone"
            found.append(f"{shown:>7}  {mark:5}  {case.name:30} {case.title} [{case.unit}{alone}]")
            shown = "with ^"
    found += [
        f"{estimate.of_starts(groups, STACKS) / 60:>7.1f}         starting and stopping the stacks",
        f"{PEER_MINUTES:>7.1f}         --peers",
        f"{floor.SECONDS / 60:>7.1f}         --floor",
        f"{(total + floor.SECONDS) / 60 + PEER_MINUTES:>7.0f}         all of it, on two cores; "
        "without what is marked `alone`, which --case measures",
    ]
    return found


def names(groups: Sequence[Group]) -> list[str]:
    """Return what `--case` takes."""
    return list(dict.fromkeys(case.name for group in groups for case in group.cases))


def chosen(options: Options, groups: Sequence[Group]) -> list[Group]:
    """Return the groups to measure, those of one layout together: a change needs a restart."""
    if options.cases:
        found = [g for g in groups if any(c.name in options.cases for c in g.cases)]
    elif options.floor:
        found = []
    else:
        found = [g for g in groups if g.whole and (g.quick or not options.quick)]
    found = [g for g in found if any(name in options.stacks for name in g.stacks)]
    layouts = list(dict.fromkeys(group.layout.name for group in found))
    return sorted(found, key=lambda group: layouts.index(group.layout.name))


def rounds(options: Options, group: Group) -> int:
    """Return how many turns each stack gets."""
    return max(1, group.quick) if options.quick else group.rounds
