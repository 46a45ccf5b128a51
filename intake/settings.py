"""What the intake is told from outside: addresses and logins, from the environment or files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from intake.keys import MAX_STREAM_DAYS

#: Names the folder of secret files, one file per setting.
SECRETS_VARIABLE = "AIRLANE_SECRETS"


class MissingSettingError(Exception):
    """A setting that this part needs is neither in the environment nor in the secrets folder."""


class IntakeSettings(BaseSettings):
    """Settings of the intake, each from `AIRLANE_<NAME>` or a file `<name>` in `$AIRLANE_SECRETS`.

    The environment wins. Nothing is needed until it is used: see `need`.
    """

    model_config = SettingsConfigDict(env_prefix="AIRLANE_", extra="ignore", frozen=True)

    #: SQLAlchemy address of the `app` database, with the login of this part.
    app_db_url: str | None = Field(None, repr=False)
    #: redis:// address of the events server, with the login of this part.
    events_url: str | None = Field(None, repr=False)
    #: Airflow's API server, without a slash at the end.
    api_url: str | None = None
    #: The service account that creates DagRuns.
    api_user: str | None = None
    api_password: str | None = Field(None, repr=False)
    #: Certificate authority of the API server, where it is none that the system knows.
    ca_file: str | None = None

    #: DagRuns created at the same time.
    intake_requests: int = Field(16, ge=1)
    #: No event is read while this many runs are queued or running.
    intake_active_runs: int = Field(200, ge=1)
    #: Seconds without a sign of life after which another consumer takes an entry over. A consumer
    #: shows one every quarter of it, so this is not a limit on how long an entry may take.
    intake_claim_after: float = Field(20, gt=0)
    #: Seconds between looks at whether the listener's DAG is paused.
    intake_pause_check: float = Field(3, gt=0)
    #: Seconds between looks for runs that failed and left their event without an answer.
    intake_sweep: float = Field(30, gt=0)
    #: Days that acknowledged, decided entries stay in the streams.
    stream_days: float = Field(7, gt=0, le=MAX_STREAM_DAYS)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class names it
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - replaced below
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read secret files by the plain name of the field, from the folder known at run time."""
        folder = os.environ.get(SECRETS_VARIABLE)
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if folder and Path(folder).is_dir():
            sources += (SecretsSettingsSource(settings_cls, secrets_dir=folder, env_prefix=""),)
        return sources

    def need(self, name: str) -> str:
        """Return a setting that must be there.

        Raises
        ------
        MissingSettingError
            When it is missing; the message names both places to put it.
        """
        value: Any = getattr(self, name)
        if not value:
            raise MissingSettingError(
                f"expected the setting {name}, found nothing: set AIRLANE_{name.upper()}, or write "
                f"it to the file {name} in the folder that ${SECRETS_VARIABLE} names "
                f"(now: {os.environ.get(SECRETS_VARIABLE) or 'unset'})"
            )
        return str(value).strip()
