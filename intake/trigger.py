"""The listener as Airflow runs it: a task that starts in the triggerer and needs no worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, StartTriggerArgs, TaskSuccessEvent, TriggerEvent

from intake.airflow_api import AirflowApi
from intake.answers import keep_answering
from intake.listener import Intake, Limits
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
    """Reads sign-ups and creates runs until its DAG is paused or its lifetime is over.

    It ends with success and without a worker in both cases; a `@continuous` DAG then starts the
    next one, as soon as it is not paused. Addresses and logins come from `IntakeSettings` in the
    triggerer's environment, so none of them lies in Airflow's database.

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
                why = await listen(IntakeSettings())
            except Exception:
                logger.exception("the listener starts anew in %s s", _RESTART)
                await asyncio.sleep(_RESTART)
            else:
                break
        logger.info("the listener ends: %s", why)
        yield TaskSuccessEvent()


async def listen(settings: IntakeSettings, lifetime: float = LIFETIME) -> str:
    """Run one life of the listener and return why it ended.

    Beside it, runs that failed without an answer get one; nothing that goes wrong there ends it.
    """
    client = connect(settings.need("events_url"))
    api = AirflowApi(
        settings.need("api_url"),
        settings.need("api_user"),
        settings.need("api_password"),
        ONBOARDING_DAG,
    )
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
