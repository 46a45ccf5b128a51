"""What tokens of tasks claim, each token checked once in its life.

A task shows the same token with each of its calls, and checking one is a sixth of the API server's
work for them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.tokens import JWTValidator

#: Tokens that are remembered, about 1 KB each: two of each task that runs.
KEPT = 4096


class Claims:
    """Checks tokens, and remembers what was found valid until its time is over.

    Parameters
    ----------
    validator
        Airflow's. With keys that are fetched, and may be withdrawn, each token is checked anew.
    """

    def __init__(self, validator: JWTValidator) -> None:
        self._validator = validator
        # By digest: a dump of this process shows no token.
        self._known: OrderedDict[bytes, dict[str, Any]] = OrderedDict()

    async def of(self, token: str) -> dict[str, Any]:
        """Return what a token claims; not to be changed.

        Raises
        ------
        InvalidTokenError
            When it is not valid, or no longer.
        """
        if self._validator.jwks is not None:
            return await self._validator.avalidated_claims(token, {})
        digest = sha256(token.encode()).digest()
        found = self._known.get(digest)
        if found is None or not self._in_time(found):
            # Airflow's own words when it is over.
            found = await self._validator.avalidated_claims(token, {})
            self._known[digest] = found
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return found

    def _in_time(self, claims: dict[str, Any]) -> bool:
        """Say whether the times that a token names still let it through."""
        now, leeway = time.time(), self._validator.leeway
        begins = max(int(claims["iat"]), int(claims.get("nbf", 0)))
        return begins <= now + leeway and int(claims["exp"]) > now - leeway
