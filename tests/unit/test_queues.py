import textwrap
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_config import queues
from airflow_config.queue_entries import Queue, WorkerClass
from airflow_config.queues import BAND, Fleet, QueuesError, UnknownQueueError

MODEL = """\
queues:
  onboarding:
    description: Sign-up decisions; a person is waiting.
    priority: 100
    promise: {end_to_end: 3m, task: 1m, gap: 3s}
    task_timeout: 1m
    retries: {count: 4, delay: 1s, max_delay: 10s}
    allowed_dags: ["onboarding*"]
  control: {priority: 50, task_timeout: 5m, allowed_dags: ["airlane_*"]}
  batch:
    priority: 1
    default: true
    task_timeout: 6h
workers:
  onboarding: {home: onboarding, concurrency: 8, hosts: {min: 1, max: 10}, preload: [sklearn]}
  control: {home: control, concurrency: 2}
  batch: {home: batch, lends_to: [control, onboarding], concurrency: 4, local: 2}
"""


def problems(text):
    with pytest.raises(QueuesError) as caught:
        queues.read(text, file="q.yaml")
    return list(caught.value.problems)


def changed(old, new):
    assert old in MODEL
    return problems(MODEL.replace(old, new))


@pytest.fixture
def fleet():
    return queues.read(MODEL)


def test_reads_the_model(fleet):
    assert list(fleet.queues) == ["onboarding", "control", "batch"]
    onboarding = fleet.queues["onboarding"]
    assert onboarding.promise.end_to_end == timedelta(minutes=3)
    assert onboarding.retries.max_delay == timedelta(seconds=10)
    assert fleet.default_queue.name == "batch"
    assert fleet.urgent == (onboarding,)
    assert fleet.workers["onboarding"].preload == ("sklearn",)
    assert fleet.workers["control"].local == 1


def test_the_shipped_file_is_valid():
    fleet = queues.load(None)
    assert set(fleet.queues) >= {"onboarding", "control", "batch"}
    assert all(queue.retries.count >= 1 for queue in fleet.queues.values())


def test_the_environment_names_another_file(tmp_path, monkeypatch):
    path = tmp_path / "other.yaml"
    path.write_text(MODEL.replace("concurrency: 8", "concurrency: 5"))
    monkeypatch.setenv("AIRLANE_QUEUES", str(path))
    assert queues.load().workers["onboarding"].concurrency == 5


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        QueuesError, match=r"none\.yaml:1: expected the queue model, found: No such"
    ):
        queues.load(tmp_path / "none.yaml")


def test_consumes_in_order_of_priority(fleet):
    assert fleet.consumes("batch") == ("onboarding", "control", "batch")
    assert fleet.consumes("control") == ("control",)


def test_slots_are_those_of_the_home_class_and_those_lent(fleet):
    assert fleet.pool_slots() == {"onboarding": 16, "control": 10, "batch": 8}
    assert fleet.pool_slots({"batch": 1}) == {"onboarding": 4, "control": 4, "batch": 4}


def test_a_queue_allows_dags_by_glob(fleet):
    assert fleet.queues["onboarding"].allows("onboarding_eu")
    assert not fleet.queues["onboarding"].allows("rescore")
    assert fleet.queues["batch"].allows("anything")


def test_a_burst_may_run_on_a_queue_with_a_promise(fleet):
    assert fleet.queues["onboarding"].active_runs >= 500
    assert fleet.queues["batch"].active_runs == 16
    more = queues.read(MODEL.replace("priority: 50,", "priority: 50, max_active_runs: 3,"))
    assert more.queues["control"].active_runs == 3


def test_an_unknown_queue_names_the_nearest(fleet):
    with pytest.raises(UnknownQueueError) as caught:
        fleet.find_queue("onbording")
    assert str(caught.value) == (
        "expected one of batch, control, onboarding, found 'onbording'; did you mean 'onboarding'?"
    )


def test_each_error_says_where_what_and_what_instead():
    assert changed("priority: 100", "priorty: 100") == [
        "q.yaml:2: queues.onboarding.priority: expected a value, found nothing",
        "q.yaml:4: queues.onboarding.priorty: expected one of allowed_dags, default, description, "
        "max_active_runs, priority, promise, retries, task_memory, task_timeout, found 'priorty'; "
        "did you mean 'priority'?",
    ]


def test_what_is_not_yaml_is_all_that_is_said():
    (problem,) = problems("queues: {\nworkers: [")
    assert problem.startswith("q.yaml:2: expected valid YAML, found: ")
    assert len(problems("")) > 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("task_timeout: 6h", "task_timeout: 6", "q.yaml:13: queues.batch.task_timeout: expected "
         "a duration such as 90s, 3m, 6h or 1d, found 6"),
        ("priority: 100", "priority: high", "q.yaml:4: queues.onboarding.priority: expected a "
         "whole number, found 'high'"),
        ("priority: 100", "priority: 0", "q.yaml:4: queues.onboarding.priority: expected a number "
         "of at least 1, found 0"),
        ("priority: 100", "priority: 50", "q.yaml:9: queues.control.priority: expected a priority "
         "of its own, found 50 as in queues.onboarding. Fix: a higher number for the one whose "
         "tasks go first"),
        ("gap: 3s}", "gap: 2m}", "q.yaml:5: queues.onboarding.promise: expected gap <= task <= "
         "end_to_end, found 2m, 1m, 3m"),
        ("gap: 3s}", "gaps: 3s, gap: 3s}", "q.yaml:5: queues.onboarding.promise.gaps: expected one "
         "of end_to_end, gap, task, found 'gaps'; did you mean 'gap'?"),
        ("max_delay: 10s", "max_delay: 10s, delay: 20s", "q.yaml:7: expected each key once, found "
         "'delay' again (line 7)"),
        ("delay: 1s,", "delay: 20s,", "q.yaml:7: queues.onboarding.retries: expected delay <= "
         "max_delay, found 20s and 10s"),
        ("{count: 4, delay: 1s, max_delay: 10s}", "3", "q.yaml:7: queues.onboarding.retries: "
         "expected a mapping, found 3"),
        ('["onboarding*"]', "onboarding", "q.yaml:8: queues.onboarding.allowed_dags: expected a "
         "list, found 'onboarding'"),
        ('["onboarding*"]', "[]", "q.yaml:8: queues.onboarding.allowed_dags: expected at least 1 "
         "of them, found []"),
        ("    default: true\n", "", "q.yaml:1: queues: expected one queue with default: true, "
         "found none. Fix: give it to the queue of tasks that name none"),
        ("priority: 50,", "priority: 50, default: true,", "q.yaml:12: queues.batch.default: "
         "expected one queue with default: true, found a second after queues.control. Fix: take "
         "one of them out"),
        ("default: true", "default: true\n    allowed_dags: [x]", "q.yaml:13: "
         'queues.batch.allowed_dags: expected ["*"], because any task may name no queue, '
         "found ['x']. Fix: take it out"),
        ("default: true", "default: 1", "q.yaml:12: queues.batch.default: expected true or false, "
         "found 1"),
        ("home: control", "home: onboarding", "q.yaml:9: queues.control: expected a worker class "
         "with home: control, found none; lent workers alone may all be busy for hours. Fix: add "
         "one to workers"),
        ("home: control", "home: contrl", "q.yaml:16: workers.control.home: expected one of batch, "
         "control, onboarding, found 'contrl'; did you mean 'control'?"),
        ("lends_to: [control, onboarding]", "lends_to: [control, control]", "q.yaml:17: "
         "workers.batch.lends_to.1: expected each queue once, found 'control' again. Fix: take "
         "it out"),
        ("lends_to: [control, onboarding]", "lends_to: [batch]", "q.yaml:17: "
         "workers.batch.lends_to.0: expected queues other than its home, found 'batch'. Fix: "
         "take it out"),
        ("lends_to: [control, onboarding]", "lends_to: [onbarding]", "q.yaml:17: "
         "workers.batch.lends_to.0: expected one of batch, control, onboarding, found 'onbarding'; "
         "did you mean 'onboarding'?"),
        ("home: control,", "home: control, lends_to: [batch],", "q.yaml:16: "
         "workers.control.lends_to.0: expected queues of a higher priority than 'control' (50), "
         "found 'batch' (1); workers never lend downward. Fix: take it out"),
        ("concurrency: 2", "concurrency: 0", "q.yaml:16: workers.control.concurrency: expected a "
         "number of at least 1, found 0"),
        ("local: 2", "local: -1", "q.yaml:17: workers.batch.local: expected a number of at least "
         "0, found -1"),
        ("{min: 1, max: 10}", "{min: 3, max: 2}", "q.yaml:15: workers.onboarding.hosts: expected "
         "min <= max, found 3 and 2"),
        ("preload: [sklearn]", "preload: [a b]", "q.yaml:15: workers.onboarding.preload.0: "
         "expected text that matches ^[A-Za-z_][A-Za-z0-9_.]*$, found 'a b'"),
        ("workers:", "extra: 1\nworkers:", "q.yaml:14: extra: expected one of queues, workers, "
         "found 'extra'"),
        ("  control: {home", "  all: {home", "q.yaml:16: workers.all: expected a name of its own, "
         "found 'all', which Ansible keeps for itself. Fix: another name"),
        ("  control: {home", "  on-call: {home", "q.yaml:16: workers.on-call: expected a name that "
         "matches ^[a-z][a-z0-9_]{0,62}$, found 'on-call': it becomes a Redis key, a pool, a unit "
         "of systemd and a group of Ansible. Fix: small letters, digits and _"),
        ("priority: 50", "name: x, priority: 50", "q.yaml:9: queues.control.name: expected the "
         "name as the key alone, found 'control' again"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(old, new, message):
    assert message in changed(old, new)


def test_all_problems_come_at_once_in_the_order_of_the_file():
    text = MODEL.replace("priority: 100", "priority: x").replace("concurrency: 2", "concurency: 2")
    text = text.replace("[control, onboarding]", "[contol, onboarding]")
    assert [problem.split(": ")[:2] for problem in problems(text)] == [
        ["q.yaml:4", "queues.onboarding.priority"],
        ["q.yaml:16", "workers.control.concurrency"],
        ["q.yaml:16", "workers.control.concurency"],
        ["q.yaml:17", "workers.batch.lends_to.0"],
    ]


@pytest.mark.parametrize("text", ["", "[]", "queues:\nworkers:\n", "- a\n", "a: [\n"])
def test_what_is_no_model_at_all(text):
    assert all(problem.startswith("q.yaml:") for problem in problems(text))


@given(st.text(max_size=80))
def test_any_text_is_a_model_or_a_list_of_problems(text):
    with pytest.raises(QueuesError):
        queues.read(text)


def test_reserved_queue_names():
    text = textwrap.dedent(MODEL).replace("control", "unacked")
    assert "queues.unacked: expected a name of its own, found 'unacked'" in problems(text)[0]


weights = st.integers(-(2**40), 2**40)
names = st.sampled_from(["onboarding", "control", "batch"])


@given(names, weights, names, weights)
def test_no_author_leaves_the_band(first, first_weight, second, second_weight):
    fleet = queues.read(MODEL)
    one, two = fleet.weight(first, first_weight), fleet.weight(second, second_weight)
    assert 0 <= one < 2**31
    if fleet.queues[first].priority > fleet.queues[second].priority:
        assert one > two
    if first == second and 0 <= first_weight <= second_weight < BAND:
        assert two - one == second_weight - first_weight


@st.composite
def fleets(draw):
    size = draw(st.integers(1, 5))
    found = {
        f"q{i}": Queue(name=f"q{i}", priority=size - i, task_timeout="1m", default=i == 0)
        for i in range(size)
    }
    workers = {}
    for i in range(size):
        lent = draw(st.sets(st.integers(0, i - 1))) if i else set()
        workers[f"w{i}"] = WorkerClass(
            name=f"w{i}",
            home=f"q{i}",
            lends_to=tuple(f"q{j}" for j in lent),
            concurrency=draw(st.integers(1, 16)),
            local=draw(st.integers(0, 3)),
        )
    return Fleet(queues=found, workers=workers)


@given(fleets())
def test_slots_hold_every_worker_that_serves_the_queue(fleet):
    slots = fleet.pool_slots()
    for queue in fleet.queues:
        serving = [w for name, w in fleet.workers.items() if queue in fleet.consumes(name)]
        assert slots[queue] == sum(w.local * w.concurrency for w in serving)
    assert fleet.parallelism() > sum(slots.values())


@given(fleets(), st.integers(0, 4))
def test_one_worker_more_never_takes_slots_away(fleet, index):
    counts = {name: worker.local for name, worker in fleet.workers.items()}
    name = f"w{index % len(fleet.workers)}"
    before = fleet.pool_slots(counts)
    after = fleet.pool_slots({**counts, name: counts[name] + 1})
    assert all(after[queue] >= before[queue] for queue in before)
    gained = {queue for queue in before if after[queue] > before[queue]}
    assert gained == set(fleet.consumes(name))


def test_a_host_may_take_its_longest_task_to_drain():
    fleet = queues.load()
    assert fleet.drain_limit("onboarding") == fleet.queues["onboarding"].task_timeout
    # it lends to others, and its own queue has the longest tasks
    assert fleet.drain_limit("batch") == fleet.queues["batch"].task_timeout
