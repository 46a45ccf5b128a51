"""Jobs and driver of the Dagster peer; runs in its environment."""

import json
import os
import time
import urllib.request
from typing import Any

import lines
import redis
import steps
from dagster import (
    Definitions,
    In,
    JobDefinition,
    Nothing,
    OpDefinition,
    OpExecutionContext,
    Out,
    job,
    op,
)
from dagster_celery import celery_executor

_EXECUTOR = celery_executor.configured(
    {"broker": {"env": "PEER_REDIS"}, "backend": {"env": "PEER_REDIS"}}
)
#: Ops of each run of the flood.
OPS = 500

_LAUNCH = """
mutation ($job: String!, $values: RunConfigData!) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "%s", repositoryName: "%s", jobName: $job}
    runConfigData: $values
  }) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_PLACE = """
{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }
"""
_END = """
query ($run: ID!) { runOrError(runId: $run) { ... on Run { status endTime } } }
"""


def _step(number: int) -> OpDefinition:
    @op(
        name=f"step_{number}",
        ins={"after": In(Nothing)} if number > 1 else {},
        out=Out(Nothing),
        config_schema={"run": str, "seconds": float},
        tags={"dagster-celery/queue": "urgent"},
    )
    def step(context: OpExecutionContext) -> None:
        steps.step(context.op_config["run"], number, context.op_config["seconds"])

    return step


@op(config_schema={"seconds": float}, out=Out(Nothing), tags={"dagster-celery/queue": "batch"})
def nap(context: OpExecutionContext) -> None:
    steps.nap(context.op_config["seconds"])


def _chain() -> JobDefinition:
    ops = [_step(number) for number in range(1, steps.STEPS + 1)]

    @job(executor_def=_EXECUTOR)
    def chain6() -> None:
        last = ops[0]()
        for following in ops[1:]:
            last = following(after=last)

    return chain6


@job(executor_def=_EXECUTOR)
def doze() -> None:
    for number in range(OPS):
        nap.alias(f"nap_{number}")()


defs = Definitions(jobs=[_chain(), doze])


def _ask(query: str, **variables: Any) -> Any:
    request = urllib.request.Request(  # noqa: S310 - loopback, ours
        os.environ["PEER_DAGSTER"] + "/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
        answer = json.load(response)
    if answer.get("errors"):
        raise RuntimeError(str(answer["errors"]))
    return answer["data"]


def drive() -> None:
    def place() -> Any:
        nodes = _ask(_PLACE)["repositoriesOrError"].get("nodes")
        return nodes[0] if nodes else None

    node = lines.poll(place, 0.2, 60)
    launch = _LAUNCH % (node["location"]["name"], node["name"])

    def submit(name: str, values: dict[str, Any]) -> str:
        answer = _ask(launch, job=name, values=values)["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise RuntimeError(str(answer))
        return str(answer["run"]["runId"])

    def begin(run: str, seconds: float) -> str:
        config = {"config": {"run": run, "seconds": float(seconds)}}
        ops = {f"step_{number}": config for number in range(1, steps.STEPS + 1)}
        return submit("chain6", {"ops": ops})

    def end(run_id: str) -> float | None:
        run = _ask(_END, run=run_id)["runOrError"]
        if run["status"] in {"FAILURE", "CANCELED"}:
            raise RuntimeError(f"the run ended as {run['status']}")
        return run["endTime"] if run["status"] == "SUCCESS" else None

    def measure(run: str) -> float:
        start = time.time()
        identifier = begin(run, 0)
        return float(lines.poll(lambda: end(identifier), 0.2)) - start

    def flood(count: int, seconds: float) -> None:
        config = {"config": {"seconds": float(seconds)}}
        ops = {f"nap_{number}": config for number in range(OPS)}
        for _ in range(count // OPS):
            submit("doze", {"ops": ops})
        # the runs' processes put the ops into the queue; a worker has taken some meanwhile
        lines.poll(lambda: waiting() > 0.9 * count or None, 0.5)

    def waiting() -> int:
        # a queue with priorities is a list for each of them, with a suffix
        with redis.Redis.from_url(os.environ["PEER_REDIS"]) as client:
            return sum(int(client.llen(key)) for key in client.scan_iter("batch*", _type="list"))

    lines.serve(begin=begin, measure=measure, flood=flood, waiting=waiting)


if __name__ == "__main__":
    drive()
