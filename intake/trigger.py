"""The listener as Airflow runs it: a task that starts in the triggerer and needs no worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, StartTriggerArgs, TaskSuccessEvent, TriggerEvent

from intake.airflow_api import AirflowApi, RetryLaterError
from intake.answers import keep_answering
from intake.backoff import is_told
from intake.listener import PAUSED, Intake, Limits
from intake.settings import IntakeSettings
from intake.streams import SignupReader, connect, consumer_name

logger = logging.getLogger(__name__)

LISTENER_DAG = "signup_listener"
ONBOARDING_DAG = "onboarding"
#: Seconds after which the trigger ends and the DAG's next run starts a new one: a trigger's log
#: file stays open, and grows, for the trigger's life.
LIFETIME = 3600
#: Seconds before a new start after an error that nothing foresaw, or a setting that is missing.
#: The trigger never fails: its failed run would be followed by the next within a second, for ever.
_RESTART = 10


class SignupTrigger(BaseTrigger):
    """Reads sign-ups and creates runs, but not while its DAG is paused, until its lifetime is over.

    It then ends with success and without a worker, and its `@continuous` DAG starts the next one.
    While the DAG is paused it stays and waits: Airflow 3.3.2 ends the run of a paused DAG without
    counting its active runs anew (`_update_dag_run_state_for_paused_dags`), and would start no
    next one until the DAG's file is parsed again.

    Addresses and logins come from `IntakeSettings` in the triggerer's environment, so none of them
    lies in Airflow's database.

    Two triggerers may run it at the same time for a moment, when one was taken for dead: they are
    two consumers of one group, and a run's id comes from its event.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return how Airflow makes this trigger again: it has no arguments."""
        return "intake.trigger.SignupTrigger", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, at the end."""
        while True:
            try:
                settings = IntakeSettings()
                why = await listen(settings, LIFETIME)
                if why == PAUSED:
                    await unpaused(settings)
                    continue
            except Exception:
                logger.exception("the listener starts anew in %s s", _RESTART)
                await asyncio.sleep(_RESTART)
            else:
                break
        logger.info("the listener ends: %s", why)
        yield TaskSuccessEvent()


async def listen(settings: IntakeSettings, lifetime: float) -> str:
    """Run one life of the listener and return why it ended.

    Beside it, runs that failed without an answer get one; nothing that goes wrong there ends it.
    """
    client = connect(settings.need("events_url"))
    api = _api(settings)
    limits = Limits(
        requests=settings.intake_requests,
        active_runs=settings.intake_active_runs,
        claim_after=settings.intake_claim_after,
        pause_check=settings.intake_pause_check,
        lifetime=lifetime,
    )
    reader = SignupReader(client, consumer_name(), settings.intake_claim_after)
    answering = asyncio.create_task(keep_answering(api, settings))
    try:
        return await Intake(reader, api, LISTENER_DAG, limits).run()
    finally:
        answering.cancel()
        await asyncio.wait([answering])
        await api.close()
        await client.aclose()


async def unpaused(settings: IntakeSettings) -> None:
    """Return once the listener's DAG is not paused; an API that is away is waited for."""
    api = _api(settings)
    failures = 0
    logger.info("%s is paused: no event is read", LISTENER_DAG)
    try:
        while True:
            try:
                if not await api.is_paused(LISTENER_DAG):
                    return
                failures = 0
            except RetryLaterError as error:
                failures += 1
                if is_told(failures):
                    logger.warning("looking for the end of the pause: %s", error)
            await asyncio.sleep(settings.intake_pause_check)
    finally:
        await api.close()


def _api(settings: IntakeSettings) -> AirflowApi:
    return AirflowApi(
        settings.need("api_url"),
        settings.need("api_user"),
        settings.need("api_password"),
        ONBOARDING_DAG,
        ca_file=settings.ca_file,
    )


class SignupListenerOperator(BaseOperator):
    """The task of the listener's DAG; all of it happens in the trigger."""

    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="intake.trigger.SignupTrigger",
        trigger_kwargs={},
        next_method="execute",
        next_kwargs=None,
        timeout=None,
    )

    def execute(self, context: Any) -> NoReturn:  # noqa: ARG002 - the base class names it
        """Refuse to run on a worker: Airflow only comes here when it did not use the trigger."""
        raise RuntimeError(
            f"expected {self.task_id} to run in the triggerer, found it on a worker: check that a "
            "triggerer runs and that no policy changed start_from_trigger"
        )
