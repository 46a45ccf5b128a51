"""The benchmark's results file, page, charts and options."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml

from airflow_config import queues
from tests.benchmarks import limits, options, report, tables, targets
from tests.benchmarks.cases import GROUPS
from tests.benchmarks.cpu import CpuUse
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.options import Options
from tests.benchmarks.plan import STACKS, Case, Count, Plan
from tests.benchmarks.stack import STANDARD, UNLENT, WIDE

#: The cases that the targets name.
NAMED = {
    *("chain6_idle", "chain40_idle", "heavy10_idle", "heavy_import"),
    *("chain6_flood_10s", "chain6_flood_1s", "chain6_flood_0s", "chain6_cron200"),
    *("flood_throughput", "flood_throughput_alone", "talk_gap", "talk_end_to_end"),
    *("throughput", "cpu_per_task", "event_to_first_task", "idle_cpu"),
    *("growth_waiting_20k", "growth_runs_1000", "growth_db_1m"),
}
CHAIN = Case("chain6_idle", "Six tasks")
RATE = Case("throughput", "No-ops", "tasks/s", higher_is_better=True)
COST = Case("cpu_per_task", "CPU", "CPU s")


def measured(*samples: float) -> Measurement:
    use = CpuUse(10.0, {"scheduler": 1.0, "worker-a": 2.0, "worker-b": 1.0}, 0.5, 0.1)
    stages = {"event to run": [0.01, 0.02], "start to end": [0.05]}
    return Measurement(list(samples), stages, [use], tasks=4, notes=["seen"])


@pytest.fixture
def content() -> dict:
    found = {
        "chain6_idle": {"stock": measured(8, 8), "airlane": measured(0.5, 0.5)},
        "throughput": {"stock": measured(8), "airlane": measured(16)},
        "cpu_per_task": {"stock": measured(0.2), "airlane": measured(0.1)},
    }
    about = {"date": "2026-01-02T03:04:05+00:00", "commit": "abc1234"}
    return report.document([CHAIN, RATE, COST], found, about=about, errors=["talk, stock: no\nx"])


def test_the_results_file_has_the_form_that_the_targets_are_stated_in(content: dict) -> None:
    assert {"machine", "versions", "cases", "peers"} <= content.keys()
    case = content["cases"]["chain6_idle"]
    assert case["stock"] == {"n": 2, "p50": 8, "p95": 8, "max": 8}
    assert case["airlane"] == {"n": 2, "p50": 0.5, "p95": 0.5, "max": 0.5}
    assert case["ratio"] == 16
    assert content["cases"]["throughput"]["ratio"] == 2
    assert json.loads(json.dumps(content)) == content


def test_details_tell_stages_load_and_samples(content: dict) -> None:
    details = content["cases"]["chain6_idle"]["details"]["airlane"]
    assert details["samples"] == [0.5, 0.5]
    assert details["stages"]["event to run"]["p50"] == 0.015
    assert details["cpu_per_task"] == {"scheduler": 0.25, "worker-a": 0.5, "worker-b": 0.25}
    assert details["foreign_cpu"] == 0.05


def test_one_stack_alone_has_no_ratio() -> None:
    found = report.case_result(CHAIN, {"airlane": measured(1.0)})
    assert found["ratio"] is None
    assert "stock" not in found


def test_rounds_of_a_case_are_taken_together() -> None:
    first, second = measured(1.0), measured(2.0)
    first.merge(second)
    assert first.samples == [1.0, 2.0]
    assert first.stages["start to end"] == [0.05, 0.05]
    assert (first.tasks, first.notes, len(first.uses)) == (8, ["seen"], 2)


def test_a_whole_benchmark_measures_every_case_of_the_targets_on_both_stacks() -> None:
    whole = options.chosen(Options(), GROUPS)
    measured = {case.name: case.stacks for group in whole for case in group.cases}
    assert {name: measured.get(name) for name in NAMED} == dict.fromkeys(NAMED, STACKS)


def test_a_whole_benchmark_takes_about_an_hour() -> None:
    last = options.listing(GROUPS)[-1]
    assert "all of it, on two cores" in last
    assert int(last.split()[0]) <= 70


def test_the_list_shows_each_case_once_and_what_it_takes() -> None:
    lines = options.listing(GROUPS)
    for name in options.names(GROUPS):
        (line,) = (line for line in lines if line[16:].startswith(f"{name} "))
        assert line.split()[0] == "with" or float(line.split()[0]) > 0


def test_the_file_is_strict_json(tmp_path: Path) -> None:
    odd = Measurement([math.nan], {"event to run": [math.nan], "start to end": [0.5]})
    found = {"chain6_idle": {"stock": odd, "airlane": measured(0.5)}}
    path = tmp_path / "r.json"
    report.write(path, report.document([CHAIN], found, about={"date": "2026", "commit": "c"}))

    def refuse(word: str) -> None:
        raise AssertionError(word)

    read = json.loads(path.read_text(), parse_constant=refuse)
    case = read["cases"]["chain6_idle"]
    assert "stock" not in case
    assert case["ratio"] is None
    assert case["details"]["stock"]["samples"] == [None]
    assert case["details"]["stock"]["stages"]["event to run"] == {
        "n": 0, "p50": None, "p95": None, "max": None
    }  # fmt: skip
    assert "| `chain6_idle` stock |  |" in tables.markdown(read, {})
    assert report.stage_lines(read)


def test_the_page_shows_every_case_and_what_is_missing(content: dict) -> None:
    page = tables.markdown(content, {"Urgent": "x-urgent.svg"})
    assert "| Six tasks (`chain6_idle`) | s | 8 | 8 | 2 | 0.5 | 0.5 | 2 | 16x |" in page
    assert "![Urgent](x-urgent.svg)" in page
    assert "| workers | 750.0 | 750.0 |" in page
    assert "## Not measured\n\n- talk, stock: no\n" in page


def test_peers_stand_beside_both_stacks(content: dict) -> None:
    figures = {"n": 3, "p50": 0.02, "p95": 0.03, "max": 0.03}
    peer = {"version": "5", "isolation": "none", "durability": "none", "note": "as it comes",
            "chain6_idle": figures, "chain6_flood_2000": None,
            "after_kill": {"went_on": True, "seconds": 6.8}}  # fmt: skip
    page = tables.markdown({**content, "peers": {"celery": peer, "lost": {"version": None}}}, {})
    assert "| celery 5 | 0.02 | 0.03 |  |  | yes, 6.8 s | none | none |" in page
    assert "| lost |  |  |  |  |  |  |  |" in page
    assert "- celery: as it comes\n" in page


def test_charts_are_the_same_for_the_same_figures(content: dict, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "r.json"
    report.write(path, content)
    files = report.render(path)
    assert {file.name for file in files} >= {"r.md", "r-urgent.svg", "r-cpu.svg", "r-stages.svg"}
    before = {file: file.read_bytes() for file in files}
    report.render(path)
    assert {file: file.read_bytes() for file in files} == before


def test_targets_are_judged_by_what_was_measured(content: dict) -> None:
    found = {target.what: target for target in targets.targets(content)}
    idle = found["6 trivial tasks, idle, p50"]
    assert (idle.stock, idle.airlane, idle.measured, idle.met) == (
        "8 s",
        "0.5 s",
        "16x faster",
        True,
    )
    assert found["6 trivial tasks, idle, p95"].met
    assert found["Tasks that do nothing, each second"].met
    cost = found["CPU of the whole stack for such a task"]
    assert (cost.measured, cost.target, cost.met) == ("0.50 x stock's", "<= 0.5 x", True)
    page = tables.markdown(content, {})
    assert "| 6 trivial tasks, idle, p50 | 8 s | 0.5 s | 16x faster | >= 15x | **yes** |" in page


@pytest.mark.parametrize(("load", "met"), [(0.5, False), (1.9, True)])
def test_a_load_that_fills_the_cpu_has_a_wider_target(
    content: dict, load: float, met: bool
) -> None:
    content["machine"]["cores"] = 2
    content["cases"]["chain6_flood_1s"] = {
        "airlane": {"n": 3, "p50": 0.6, "p95": 0.7, "max": 0.7},
        "details": {"airlane": {"stack_cpu": load}},
    }
    (flood,) = (t for t in targets.targets(content) if t.cases[0] == "chain6_flood_1s")
    assert flood.measured == "1.40 x its own idle p95"
    assert flood.met is met


def test_a_load_is_judged_by_what_was_idle_beside_it(content: dict) -> None:
    def chains(p95: float) -> dict:
        return {"airlane": {"n": 3, "p50": p95, "p95": p95, "max": p95}, "details": {}}

    content["cases"] |= {
        "chain6_cron200": chains(0.7),
        "chain6_idle_beside_cron200": chains(0.625),
        "growth_db_1m": chains(0.8),
        "growth_db_0": chains(0.6),
    }
    judged = {t.cases: t for t in targets.targets(content)}
    cron = judged["chain6_cron200", "chain6_idle_beside_cron200"]
    assert cron.measured == "1.12 x its own idle p95 beside it (1.40 x `chain6_idle`'s)"
    assert cron.met
    assert not judged["growth_db_1m", "growth_db_0"].met


def test_the_page_says_who_takes_the_cpu_and_what_the_floor_is(content: dict) -> None:
    content["floor"] = {"fork": {"what": "a fork", "cpu": 0.004, "seconds": 0.0045}}
    page = tables.markdown(content, {})
    # urgent workers, batch ones, scheduler, API server, PostgreSQL, DAG processor, others, all
    for case, cells in (
        ("`chain6_idle` airlane", "0.0 | 0.0 | 250.0 | 0.0 | 0.0 | 0.0 | 750.0 | 1000.0"),
        ("`throughput` stock", "0.00 | 0.00 | 0.10 | 0.00 | 0.00 | 0.00 | 0.30 | 0.40 | 0.05"),
    ):
        assert f"| {case} | {cells} |" in page
    assert "| a fork | 4.00 | 4.50 |" in page


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ("worker-onboarding", "workers, urgent"),
        ("worker-stock", "workers, urgent"),
        ("worker-batch", "workers, batch"),
        ("postgres", "postgres"),
        ("relay", limits.REST),
    ],
)
def test_whose_cpu_stands_where(part: str, shown: str) -> None:
    assert limits.grouped({part: 2.0, "flower": 1.0})[shown] == (3.0 if shown == limits.REST else 2)


def test_a_layout_that_lends_nothing_differs_in_that_alone() -> None:
    one, other = (yaml.safe_load(layout.queues.read_text()) for layout in (STANDARD, UNLENT))
    assert one["workers"]["batch"].pop("lends_to")
    assert one == other


def test_every_load_that_is_judged_has_idle_chains_beside_it() -> None:
    known = set(options.names(GROUPS))
    assert targets._IDLE.keys() == targets._LOADS.keys()
    assert known >= {*targets._IDLE, *targets._IDLE.values()}


def test_a_flood_has_to_keep_most_of_its_throughput_and_stocks(content: dict) -> None:
    def rate(value: float) -> dict:
        return {"n": 1, "p50": value, "p95": value, "max": value}

    cases = content["cases"]
    cases["flood_throughput"] = {"stock": rate(5.0), "airlane": rate(6.0), "details": {}}
    cases["flood_throughput_alone"] = {"stock": rate(5.0), "airlane": rate(7.0), "details": {}}
    cases["flood_throughput_0s"] = {"stock": rate(9.0), "airlane": rate(8.0), "details": {}}
    cases["flood_throughput_alone_0s"] = {"airlane": rate(8.0), "details": {}}
    met = {t.cases[0]: t.met for t in targets.targets(content) if "own throughput" in t.what}
    assert met == {"flood_throughput": True, "flood_throughput_0s": False}


def test_what_is_chosen() -> None:
    everything = options.parse([], GROUPS)
    assert everything.whole
    whole = [group for group in GROUPS if group.whole]
    assert options.chosen(everything, GROUPS) == sorted(
        whole, key=lambda group: group.layout.name != GROUPS[0].layout.name
    )
    quick = options.parse(["--quick", "--only", "airlane"], GROUPS)
    assert quick.stacks == ("airlane",)
    assert not quick.whole
    assert 0 < len(options.chosen(quick, GROUPS)) < len(GROUPS)
    floor = options.parse(["--floor"], GROUPS)
    assert (floor.whole, options.chosen(floor, GROUPS)) == (False, [])
    lent = options.parse(["--case", "lent_capacity_none"], GROUPS)
    assert [group.name for group in options.chosen(lent, GROUPS)] == ["lent_capacity"]
    one = options.parse(["--case", "flood_throughput"], GROUPS)
    assert [group.name for group in options.chosen(one, GROUPS)] == ["chain6_flood_1s"]


def test_an_unknown_case_is_refused_with_the_nearest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        options.parse(["--case", "chain6_idel"], GROUPS)
    said = " ".join(capsys.readouterr().err.split())
    assert "a case that --list shows, found chain6_idel; did you mean 'chain6_idle'?" in said


@pytest.mark.parametrize(
    ("text", "found"),
    [(None, "No such file"), ("{", "found no JSON in"), ("[]", "found none in")],
)
def test_a_page_of_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, found: str
) -> None:
    file = tmp_path / "r.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SystemExit):
        options.parse(["--render", str(file)], GROUPS)
    assert found in " ".join(capsys.readouterr().err.split())


def test_a_page_is_not_made_anew_without_its_charts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.json"
    file.write_text('{"cases": {}}')
    monkeypatch.setattr(options, "find_spec", lambda _: None)
    with pytest.raises(SystemExit):
        options.parse(["--render", str(file)], GROUPS)
    assert "expected matplotlib" in capsys.readouterr().err


def test_quick_takes_fewer_samples() -> None:
    class Named:
        name = "stock"

    count = Count(stock=6, airlane=20, quick_stock=2, quick_airlane=5)
    assert Plan(False, print).samples(Named(), count) == 6  # type: ignore[arg-type]
    assert Plan(True, print).samples(Named(), count) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", [STANDARD, UNLENT, WIDE], ids=lambda layout: layout.name)
def test_both_stacks_have_the_same_slots(layout) -> None:
    fleet = queues.load(layout.queues)
    assert sum(worker.concurrency for worker in fleet.workers.values()) == layout.slots


def test_the_benchmarks_queues_are_the_products() -> None:
    product, bench = queues.load(), queues.load(STANDARD.queues)
    assert product.queues.keys() == bench.queues.keys()
    for name, queue in product.queues.items():
        other = bench.queues[name]
        assert (queue.priority, queue.promise, queue.default, queue.task_timeout) == (
            *(other.priority, other.promise, other.default),
            other.task_timeout,
        )
    for name, worker in product.workers.items():
        assert bench.workers[name].lends_to == worker.lends_to
