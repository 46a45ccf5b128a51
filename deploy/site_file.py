"""What the site files of one machine and of a fleet have in common: how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from airflow_config.located_yaml import parse
from airflow_config.problems import Problems
from intake.keys import MAX_STREAM_DAYS

Port = Annotated[int, Field(ge=1, le=65535)]


class SiteError(Exception):
    """The site file can't be taken as it is; one line for each thing to put right."""


class Model(BaseModel):
    """A part of a site file: what it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Intake(Model):
    """How long streams are kept (days), runs created at a time, and active runs at most."""

    stream_days: float = Field(default=7, gt=0, le=MAX_STREAM_DAYS)
    requests: int = Field(default=16, ge=1)
    active_runs: int = Field(default=200, ge=1)

    def environment(self) -> dict[str, str]:
        """Return the variables by which the intake is told."""
        return {
            "AIRLANE_STREAM_DAYS": str(self.stream_days),
            "AIRLANE_INTAKE_REQUESTS": str(self.requests),
            "AIRLANE_INTAKE_ACTIVE_RUNS": str(self.active_runs),
        }


T = TypeVar("T", bound=Model)


def wrong(message: str) -> PydanticCustomError:
    """Return an error whose message is shown as it is: of the relation of several keys."""
    return PydanticCustomError("order", "{message}", {"message": message})


def expect_absolute(key: str, path: Path) -> None:
    """Refuse a path that means another place to a part than to whoever wrote it.

    Parts are started in the checkout or by systemd; a person's shell may be anywhere.

    Raises
    ------
    PydanticCustomError
        Naming the key.
    """
    if not path.is_absolute():
        raise wrong(f"expected an absolute path as {key}, found {path}")


def read(file: Path, model: type[T], *, named_by: str) -> T:
    """Read a site file.

    Parameters
    ----------
    file
        Its path.
    model
        What it holds; has a field `name`, which is no key of the file.
    named_by
        Where the path comes from, for the message when there is no such file.

    Raises
    ------
    SiteError
        With every fault at once, each with file and line.
    """
    try:
        located = parse(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SiteError(f"expected the site file {file} ({named_by}), found: {reason}") from error
    problems = Problems(str(file), located)
    site = problems.validate(model, (), "site", located.values)
    if problems or site is None:
        raise SiteError("\n".join(problems.texts()))
    return site
