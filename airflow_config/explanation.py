"""What was derived for a queue, a DAG or a task, and why: `airlane explain`.

The derivations give their reasons themselves (`pools`, `queue_settings`, `task_rules`); this
gathers them. What became of an author's values is seen by applying the policies to the DAG as
Airflow parses it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from airflow_config import pools, queue_settings, task_rules
from airflow_config.derivation import Derived
from airflow_config.durations import format_duration
from airflow_config.problems import expected_one_of
from airflow_config.queues import Fleet


class UnknownNameError(LookupError):
    """There is no queue, DAG or task of this name; the text has the nearest ones."""


@dataclass(frozen=True)
class Ruled:
    """A value of a DAG or task: what its author said, and what the policies made of it.

    Parameters
    ----------
    name
        The attribute, in Airflow's words.
    author
        The author's value; None when nothing was said.
    value
        What holds.
    state
        `filled` (nothing was said), `kept`, or `cut` (another value than the author's holds).
    why
        The rule, in words.
    where
        `file:line` of the keys of queues.yaml that it follows from.
    """

    name: str
    author: Any
    value: Any
    state: str
    why: str
    where: list[str]


@dataclass(frozen=True)
class Explained:
    """A DAG or a task with what the policies made of it.

    Parameters
    ----------
    dag, task
        Ids; no task for a DAG alone.
    file
        Of the DAG.
    values
        Each value.
    refused
        Why Airflow does not take it in; None when it does.
    """

    dag: str
    task: str | None
    file: str
    values: list[Ruled]
    refused: str | None

    def to_json(self) -> dict[str, Any]:
        """Return what `airlane explain --json` prints."""
        return asdict(self)


def of_queue(fleet: Fleet, name: str) -> list[Derived]:
    """Return all that is derived for a queue.

    Raises
    ------
    airflow_config.queues.UnknownQueueError
        When there is none of this name.
    """
    queue = fleet.find_queue(name)
    pool = next(pool for pool in pools.desired_pools(fleet) if pool.name == name)
    rules = task_rules.task_rules(fleet, name)
    return [
        Derived("pool slots", pool.slots, f"{pool.why}; they follow the live workers", pool.keys),
        *_workers(fleet, name),
        *(rules[key] for key in rules if key not in {"queue", "pool"}),
        task_rules.active_runs(fleet, name),
        task_rules.active_tasks(fleet, [name]),
        Derived(
            "allowed DAGs",
            list(queue.allowed_dags),
            "others are refused",
            (("queues", name, "allowed_dags"),),
        ),
        *_of_broker(fleet, name),
    ]


def _workers(fleet: Fleet, name: str) -> Iterable[Derived]:
    for class_name, worker in fleet.workers.items():
        served = fleet.consumes(class_name)
        if name not in served:
            continue
        home = worker.home == name
        order = f"{', '.join(served)} in this order" if len(served) > 1 else "no other"
        kind = "at home here" if home else f"lent by {worker.home}"
        yield Derived(
            f"workers of {class_name}",
            worker.local,
            f"{kind}; takes from {order}; {worker.concurrency} tasks each; {worker.hosts.min} to "
            f"{worker.hosts.max} hosts on a fleet; a drain may take "
            f"{format_duration(fleet.drain_limit(class_name))}",
            (("workers", class_name, "home" if home else "lends_to"),),
        )


def _of_broker(fleet: Fleet, name: str) -> Iterable[Derived]:
    """Return what the broker does with messages, where this queue is why."""
    for derived in (queue_settings.queued_timeout(fleet), queue_settings.visibility_timeout(fleet)):
        if any(key[:2] == ("queues", name) for key in derived.keys):
            yield derived


def parse(folder: str, fleet: Fleet, target: str) -> Explained:
    """Parse the DAGs of a folder and explain one of them or one of its tasks.

    Runs in a process of its own (`check.apart`).

    Raises
    ------
    UnknownNameError
        When there is no such DAG or task.
    """
    from airflow_config.check import dag_bag  # noqa: PLC0415 - not for a queue

    bag = dag_bag(folder)
    # Ids may hold dots: the longest DAG that fits is meant.
    fitting = [name for name in bag.dags if target == name or target.startswith(f"{name}.")]
    if not fitting:
        wrong = f" ({len(bag.import_errors)} files could not be imported: airlane check)"
        raise UnknownNameError(
            expected_one_of([*bag.dags, *fleet.queues], target)
            + (wrong if bag.import_errors else "")
        )
    dag = bag.dags[max(fitting, key=len)]
    wanted = target.removeprefix(dag.dag_id).removeprefix(".")
    return _dag(dag, fleet) if not wanted else _task(dag, wanted, fleet)


def _dag(dag: Any, fleet: Fleet) -> Explained:
    from airflow_config import policies  # noqa: PLC0415
    from airflow_config.unsaid import is_unsaid  # noqa: PLC0415

    used = policies.queues_of_dag(dag, fleet)
    widest = max(used, key=lambda queue: queue.active_runs)
    rules = (
        task_rules.active_runs(fleet, widest.name),
        task_rules.active_tasks(fleet, [queue.name for queue in used]),
    )
    before = {rule.name: getattr(dag, rule.name) for rule in rules}
    policies.apply_to_dag(dag, fleet)
    values = []
    for rule in rules:
        said = before[rule.name]
        author = None if is_unsaid(rule.name, said) else said
        values.append(_ruled(rule, author, getattr(dag, rule.name), fleet))
    return Explained(dag.dag_id, None, str(dag.fileloc), values, None)


def _task(dag: Any, name: str, fleet: Fleet) -> Explained:
    from airflow.exceptions import AirflowClusterPolicyViolation  # noqa: PLC0415

    from airflow_config import policies  # noqa: PLC0415
    from airflow_config.unsaid import is_unsaid  # noqa: PLC0415

    if name not in dag.task_dict:
        raise UnknownNameError(f"DAG {dag.dag_id!r}: {expected_one_of(dag.task_dict, name)}")
    task = dag.task_dict[name]
    queue = policies.queue_name(task, fleet)
    refused = None
    rules = task_rules.task_rules(fleet, queue) if queue in fleet.queues else {}
    before = {rule: getattr(task, rule) for rule in rules}
    try:
        policies.apply_to_task(task, fleet, refuse=True)
    except AirflowClusterPolicyViolation as error:
        refused = str(error)
        policies.apply_to_task(task, fleet, refuse=False)
    values = []
    for key, rule in rules.items():
        author = None if is_unsaid(key, before[key]) else before[key]
        values.append(_ruled(rule, author, getattr(task, key), fleet))
    return Explained(dag.dag_id, name, str(dag.fileloc), values, refused)


def _ruled(rule: Derived, author: Any, value: Any, fleet: Fleet) -> Ruled:
    said, holds = _plain(author), _plain(value)
    if rule.name == "priority_weight" and said is not None:
        # the author's own weight is what is left above the band
        kept = holds - fleet.weight(str(rule.keys[0][1]), 0) == said
    else:
        kept = said == holds
    state = "filled" if said is None else "kept" if kept else "cut"
    where = [fleet.source.where(key) for key in rule.keys]
    return Ruled(rule.name, said, holds, state, rule.why, where)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, timedelta):
        whole = value >= timedelta(seconds=1) and not value.microseconds
        return format_duration(value) if whole else f"{value.total_seconds()}s"
    if value is None or isinstance(value, bool | int | float | str):
        return getattr(value, "value", value)
    return str(value)
