"""What the parts take over from the environment of whoever starts them: little."""

from __future__ import annotations

import os

#: Everything else stays outside: an AIRFLOW__ variable of a shell must not change an instance,
#: and a proxy must not stand between parts that talk over loopback.
_PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE")


def passed_on() -> dict[str, str]:
    """Return the caller's variables that parts are started with."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
