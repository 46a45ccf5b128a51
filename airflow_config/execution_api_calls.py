"""The six calls that most tasks make, each as Airflow's own endpoint understands it.

What is validated, with which models, and what is answered is read from Airflow 3.3.2: the routes'
declarations and FastAPI's and Cadwyn's way with them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, get_args
from uuid import UUID

from airflow.api_fastapi.execution_api.datamodels.taskinstance import (
    TIEnterRunningPayload,
    TIHeartbeatInfo,
    TIRunContext,
    TIStateUpdate,
)
from airflow.api_fastapi.execution_api.datamodels.token import TIClaims, TIToken
from airflow.api_fastapi.execution_api.routes import task_instances, xcoms
from airflow.api_fastapi.execution_api.versions import bundle
from airflow.utils.session import create_session
from fastapi import Response
from pydantic import JsonValue, TypeAdapter

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.tokens import JWTGenerator

#: The newest version of the API: for it nothing is migrated.
VERSION = str(bundle.versions[0].value).encode()

#: Seconds before a token's end from which on Airflow's middleware gives a new one, at least; and
#: the share of its life (`JWTReissueMiddleware`).
_RENEWED, _RENEWED_SHARE = 30, 0.2

_STARTED: TypeAdapter[Any] = TypeAdapter(TIEnterRunningPayload)
#: FastAPI leaves the discriminator out, so that the union picks the member that fits best.
_STATE: TypeAdapter[Any] = TypeAdapter(get_args(TIStateUpdate)[0])
_BEAT: TypeAdapter[Any] = TypeAdapter(TIHeartbeatInfo)
_FIELDS: TypeAdapter[Any] = TypeAdapter(dict[str, JsonValue])
_VALUE: TypeAdapter[Any] = TypeAdapter(JsonValue)
_CONTEXT = TypeAdapter(TIRunContext)

_JSON = (b"content-type", b"application/json")


@dataclass(frozen=True)
class Tools:
    """What endpoints get besides the request; it stands for the container of services too.

    Parameters
    ----------
    dag_bag
        The application's cache of DAGs.
    generator
        Makes tokens.
    """

    dag_bag: Any
    generator: JWTGenerator

    def get(self, _kind: type) -> JWTGenerator:
        """Return the one service that these endpoints ask for."""
        return self.generator


@dataclass(frozen=True)
class Answer:
    """A success."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]


Work = Callable[[Tools], Answer]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request.

    Parameters
    ----------
    arguments
        What its path names.
    query
        What stands behind the question mark.
    token
        Whose validity is to be checked.
    version
        Of the API.
    correlation_id
        To be given back.
    trace
        Headers of the trace that it belongs to.
    """

    #: Scopes of tokens that may make this call.
    SCOPES: ClassVar[frozenset[str]] = frozenset({"execution"})
    #: Of its body, as the request names it.
    TYPE: ClassVar[bytes | None] = b"application/json"

    arguments: tuple[str, ...]
    query: bytes
    token: str
    version: bytes
    correlation_id: bytes | None
    trace: dict[str, str]

    def prepared(self, claims: dict[str, Any], body: bytes) -> Work | None:
        """Return what is to be done in a thread; None when the request is to be handed on.

        Raises
        ------
        ValueError
            For a body that is not as it must be.
        """
        token = TIToken(id=claims["sub"], claims=TIClaims(**{"scope": "execution", **claims}))
        if token.claims.scope not in self.SCOPES or _renewed(claims) or not self._allowed(token):
            return None
        return partial(self._within_session, self._parsed(body), token)

    def _parsed(self, body: bytes) -> Any:
        return json.loads(body)

    def _allowed(self, token: TIToken) -> bool:
        """Say whether the token's task is the one of the path (`ti:self`)."""
        return str(token.id) == self.arguments[0]

    def _within_session(self, body: Any, token: TIToken, tools: Tools) -> Answer:
        # As the application's `SessionDep`: committed before the answer goes out.
        with create_session(scoped=False) as session:
            return self._done(body, token, tools, session)

    def _done(self, body: Any, token: TIToken, tools: Tools, session: Any) -> Answer:
        raise NotImplementedError


class Start(Call):
    """A task starts."""

    SCOPES = frozenset({"execution", "workload"})

    def _done(self, body: Any, token: TIToken, tools: Tools, session: Any) -> Answer:
        response = Response()
        context = task_instances.ti_run(
            UUID(self.arguments[0]),
            _STARTED.validate_python(body, from_attributes=True),
            response,
            session,
            tools.dag_bag,
            tools,
            token,
        )
        content = _CONTEXT.dump_json(context, by_alias=True, exclude_unset=True)
        renewed = response.headers.get("refreshed-api-token")
        more = [(b"refreshed-api-token", renewed.encode())] if renewed else []
        return _json(200, content, *more)


class Finish(Call):
    """A task has a new state."""

    def _done(self, body: Any, token: TIToken, tools: Tools, session: Any) -> Answer:  # noqa: ARG002
        payload = _STATE.validate_python(body, from_attributes=True)
        found = task_instances.ti_update_state(
            UUID(self.arguments[0]), payload, session, tools.dag_bag
        )
        if found is not None:
            return Answer(found.status_code, b"", [(b"content-length", b"0")])
        return Answer(204, b"", [_JSON])


class KeepFields(Call):
    """A task's templates are rendered."""

    def _done(self, body: Any, token: TIToken, tools: Tools, session: Any) -> Answer:  # noqa: ARG002
        fields = _FIELDS.validate_python(body, from_attributes=True)
        done = task_instances.ti_put_rtif(UUID(self.arguments[0]), fields, session)
        return _json(201, _dumped(done))


class Beat(Call):
    """A task lives."""

    def _done(self, body: Any, token: TIToken, tools: Tools, session: Any) -> Answer:  # noqa: ARG002
        beat = _BEAT.validate_python(body, from_attributes=True)
        task_instances.ti_heartbeat(UUID(self.arguments[0]), beat, session)
        return Answer(204, b"", [_JSON])


class SetXCom(Call):
    """A task has a result."""

    def _allowed(self, token: TIToken) -> bool:  # noqa: ARG002
        # Any task may, where there are no teams (`execution_api_fit`).
        return not self.query

    def _done(self, body: Any, token: TIToken, tools: Tools, session: Any) -> Answer:  # noqa: ARG002
        value = _VALUE.validate_python(body, from_attributes=True)
        dag_id, run_id, task_id, key = self.arguments
        done = xcoms.set_xcom(dag_id, run_id, task_id, key, session, value, -1, False, None)
        return _json(201, _dumped(done))


class GetXCom(Call):
    """A task needs another one's result."""

    TYPE = None

    def _parsed(self, body: bytes) -> None:
        if body:
            raise ValueError("expected no body, found one")

    def _allowed(self, token: TIToken) -> bool:  # noqa: ARG002
        # Of an unmapped task: parts of mapped ones' have paths of their own, with a slash in
        # the place of the key.
        return not self.query and "/" not in self.arguments[-1]

    def _done(self, body: Any, token: TIToken, tools: Tools, session: Any) -> Answer:  # noqa: ARG002
        dag_id, run_id, task_id, key = self.arguments
        found = xcoms.get_xcom(dag_id, run_id, task_id, key, session, xcoms.GetXcomFilterParams())
        # By Python's own writer, as Starlette does: pydantic's has other words for some numbers.
        content = json.dumps(
            found.model_dump(mode="json", by_alias=True),
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
        return _json(200, content.encode())


#: Calls about a result, by method.
OF_XCOM: dict[str, type[Call]] = {"POST": SetXCom, "GET": GetXCom}
#: Calls of a task about itself, by method and the path's last part.
OF_TASK: dict[tuple[str, str], type[Call]] = {
    ("PATCH", "run"): Start,
    ("PATCH", "state"): Finish,
    ("PUT", "rtif"): KeepFields,
    ("PUT", "heartbeat"): Beat,
}


def _renewed(claims: dict[str, Any]) -> bool:
    """Say whether Airflow's application would give a new token with its answer."""
    if claims.get("scope") == "workload":
        return False
    ends, life = int(claims["exp"]), int(claims["exp"]) - int(claims["iat"])
    return ends - int(time.time()) <= max(int(life * _RENEWED_SHARE), _RENEWED)


def _dumped(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _json(status: int, content: bytes, *more: tuple[bytes, bytes]) -> Answer:
    length = (b"content-length", str(len(content)).encode())
    return Answer(status, content, [length, _JSON, *more])
