"""The urgent DAG: one run decides about one sign-up while a person waits.

Everything about data science is in `dags.packs`, everything about where records and decisions
live is in `intake`; here is only the order of the steps. This file is parsed before every task,
so it imports what is quick to import; scikit-learn comes in inside the one task that needs it.

`multiple_outputs=False`: a task that is annotated to return a dict would send each key as an XCom
of its own, an API call each; a record has 20 keys.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk import TriggerRule, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from airflow_config import place, release
from dags.packs import decision, fingerprint, model_store
from dags.packs.affordability import assess
from dags.packs.applicant import ApplicantError, parse, used
from dags.packs.bank_data import check
from dags.packs.fraud import compare
from dags.packs.strategy import decide
from intake import applicants, database, events, ledger, shared_models

log = logging.getLogger(__name__)

#: XCom key under which a failing step leaves its reason.
FAILURE = "failure"

#: Characters of a reason.
REASON_LENGTH = 300

#: The reason of a step that left none.
_NO_WORD = "ended without a word (killed or out of memory), see its log"

#: Beside the columns of the record: the versions that all steps of the run use.
VERSIONS = "versions"

#: Where people wait. Pool, weight, retries and time limits follow from this name.
QUEUE = "onboarding"


def reported(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a step leave the reason of its failure where `set_entity_error` finds it.

    What would fail the same way again (an unknown applicant, a record that cannot be read) is not
    retried. Airflow deletes a task's XComs when it starts again, so a retry that succeeds leaves
    no reason behind.
    """

    @functools.wraps(function)
    def step(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (AirflowTaskTimeout, Exception) as error:
            _leave_reason(error)
            hopeless = (applicants.UnknownApplicantError, ApplicantError)
            if isinstance(error, hopeless):
                raise AirflowFailException(str(error)) from error
            raise

    return step


def _leave_reason(error: BaseException) -> None:
    # The first line says it; database errors go on with statements and values, which are nothing
    # for whoever reads decisions.
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:REASON_LENGTH]
    try:
        get_current_context()["ti"].xcom_push(key=FAILURE, value=reason)
    except Exception:  # the step's own error matters more than telling it
        log.exception("could not leave the reason of the failure: %s", reason)


@functools.cache
def _engine() -> Any:
    return database.app_engine()


def _basis(record: Mapping[str, Any]) -> decision.Basis:
    """Return the versions that the run's first step noted, brought to this host if need be."""
    folder = place.models_dir()
    if VERSIONS not in record:  # that step ran in a release that noted none
        return decision.in_use(shared_models.refresh(_engine(), folder, model_store.adopt))
    for one in record[VERSIONS].values():
        name, sha256 = one["name"], one["sha256"]
        shared_models.fetch(_engine(), folder, name, model_store.adopt, sha256=sha256)
    return decision.of(folder, record[VERSIONS])


def _event(dag_run: Any) -> dict[str, Any]:
    """Return the sign-up that the listener put into the run's conf."""
    event = (dag_run.conf or {}).get("event")
    if not isinstance(event, dict) or not {"event_id", "entity_id", "at"} <= event.keys():
        raise AirflowFailException(
            "expected a run made by the listener, with conf {'event': {'event_id', 'entity_id', "
            f"'at', ...}}}}, found conf {dag_run.conf!r}: sign up with `airlane signup ENTITY_ID`"
        )
    return event


def _record(dag_run: Any, inputs: ledger.Inputs | None = None, **verdict: Any) -> ledger.Decision:
    """Write a decision into the ledger, and return the one that it holds: the first one stays."""
    event = _event(dag_run)
    ours = ledger.Decision(
        event_id=event["event_id"],
        entity_id=str(event["entity_id"]),
        signed_up_at=events.signed_up_at(event),
        run_id=dag_run.run_id,
        event=event,
        **verdict,
    )
    if ledger.record(_engine(), ours, inputs):
        log.info("recorded: %s, because %s", ours.decision, "; ".join(ours.reasons))
        return ours
    held = ledger.find(_engine(), event["event_id"])
    assert held is not None, "a row that was in the way is there"  # noqa: S101 - rows never go
    log.warning(
        "event %s was decided before (%s, by run %s): that stays, ours (%s) is dropped",
        held.event_id, held.decision, held.run_id, ours.decision,
    )  # fmt: skip
    return held


@dag(
    dag_id="onboarding",
    schedule=None,
    catchup=False,
    # Airflow's 16 would make the 17th person wait for a whole decision.
    max_active_runs=64,
    tags=["urgent"],
    doc_md="""
Decides about one sign-up: approve, decline, review, or `error` when a step failed for good.

The listener starts a run for each event (conf `{"event": {...}}`). `skip_or_decide` ends the run
when the ledger already has its event. `load_applicant` notes the versions that are in use, of the
model and of fraud's distributions, for all steps after it. Four packs look at the applicant at the
same time, `strategy` weighs what they found, and `set_entity_done` writes ledger and outbox, and
what the decision was made from (`airlane replay`).

When a step has failed for good, `set_entity_error` records `error` with that step's reason, so
that the applicant gets an answer, and then fails itself, on purpose: it is the last step, and its
state is the run's. So a run that answered `error` is red, its log's last line says why.
""",
)
def onboarding() -> None:
    @task.branch(queue=QUEUE)
    @reported
    def skip_or_decide(dag_run: Any = None) -> str | None:
        event = _event(dag_run)
        held = ledger.find(_engine(), event["event_id"])
        if held is None:
            return "load_applicant"
        log.info("event %s was decided before: %s", held.event_id, held.decision)
        return None  # skips everything

    @task(queue=QUEUE, multiple_outputs=False)
    @reported
    def load_applicant(dag_run: Any = None) -> dict[str, Any]:
        entity_id = _event(dag_run)["entity_id"]
        # Only the plain way to write a number is one's id: int() would read "1_0" as 10.
        if not re.fullmatch("[1-9][0-9]{0,8}", str(entity_id)):
            raise applicants.UnknownApplicantError(
                f"expected the entity_id of a known applicant, a whole number, found {entity_id!r}"
            )
        record = applicants.get(_engine(), int(entity_id))
        parse(record)  # what cannot be read fails here, once, and not in four packs
        return {**record, VERSIONS: _basis(record).versions}

    @task(queue=QUEUE, multiple_outputs=False)
    @reported
    def bank_data(record: dict[str, Any]) -> dict[str, Any]:
        return {**check(parse(record), _basis(record).learnt("bank_data"))}

    @task(queue=QUEUE, multiple_outputs=False)
    @reported
    def affordability(record: dict[str, Any]) -> dict[str, Any]:
        return {**assess(parse(record), _basis(record).learnt("affordability"))}

    @task(queue=QUEUE, multiple_outputs=False)
    @reported
    def fraud(record: dict[str, Any]) -> dict[str, Any]:
        return {**compare(parse(record), _basis(record).learnt("fraud"))}

    @task(queue=QUEUE, multiple_outputs=False)
    @reported
    def credit_score(record: dict[str, Any]) -> dict[str, Any]:
        from dags.packs.credit_score import score_with  # noqa: PLC0415 - scikit-learn: 2 s

        return {**score_with(_basis(record).model, parse(record))}

    @task(queue=QUEUE, multiple_outputs=False)
    @reported
    def strategy(score: Any, bank_data: Any, affordability: Any, fraud: Any) -> dict[str, Any]:
        return {
            **decide(score=score, bank_data=bank_data, affordability=affordability, fraud=fraud)
        }

    @task(queue=QUEUE)
    @reported
    def set_entity_done(
        verdict: dict[str, Any], record: dict[str, Any], dag_run: Any = None
    ) -> str:
        inputs = None
        if VERSIONS in record:
            inputs = ledger.Inputs(
                record=used(record),
                versions=record[VERSIONS],
                release=release.current(),
                packs_sha256=fingerprint.PACKS,
                scikit_learn=fingerprint.SCIKIT_LEARN,
            )
        return _record(dag_run, inputs, **verdict).decision

    # A step's failure goes down the line as `upstream_failed`, so the last step stands for all of
    # them; and an event that was decided before skips down the same line, this step included.
    @task(queue=QUEUE, trigger_rule=TriggerRule.ONE_FAILED)
    def set_entity_error(dag_run: Any = None, ti: Any = None, task: Any = None) -> None:
        reasons = failures(ti, dag_run, task.dag.topological_sort())
        held = _record(dag_run, decision="error", score=None, reasons=reasons, model_version=None)
        raise AirflowFailException(f"answered {held.decision!r}: {'; '.join(held.reasons)}")

    record = load_applicant()
    skip_or_decide() >> record
    done = set_entity_done(
        strategy(
            score=credit_score(record),
            bank_data=bank_data(record),
            affordability=affordability(record),
            fraud=fraud(record),
        ),
        record,
    )
    done >> set_entity_error()


def failures(ti: Any, dag_run: Any, steps: Any) -> list[str]:
    """Say in words why a run failed: each reason once, behind the steps that gave it, in order."""
    states = ti.get_task_states(dag_id=dag_run.dag_id, run_ids=[dag_run.run_id])[dag_run.run_id]
    failed = [step.task_id for step in steps if states.get(step.task_id) == "failed"]
    told: dict[str, list[str]] = {}
    for task_id in failed:
        reason = ti.xcom_pull(task_ids=task_id, key=FAILURE)
        told.setdefault(reason or _NO_WORD, []).append(task_id)
    reasons = [f"{', '.join(steps)}: {reason}" for reason, steps in told.items()]
    return reasons or ["a step failed and left no trace: see the run's logs"]


onboarding()
