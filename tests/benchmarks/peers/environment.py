"""An environment of its own for each peer, made when it is first needed, from its lock file."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from tools.install import pip_settings

_ADDRESS = re.compile(r"\b\w+://[^\s`'\")]+")


class UnavailableError(Exception):
    """A peer can't be installed or started here; the message goes into the results."""


def without_addresses(text: str) -> str:
    """Return `text` fit for a file that is kept: no address of a server or registry in it."""
    return _ADDRESS.sub("<address>", text).strip()


def ensure(folder: Path, lock: Path) -> Path:
    """Make the environment in `folder` unless it is there as `lock` wants it.

    Parameters
    ----------
    folder
        Of the environment; whatever else is in it is deleted.
    lock
        Requirements with hashes.

    Returns
    -------
    Path
        Its Python.

    Raises
    ------
    UnavailableError
        With the installer's last lines.
    """
    python = folder / "bin" / "python"
    stamp = folder / ".installed"
    mark = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == mark:
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    # below a checkout: neither git nor a linter is to look into it
    (folder.parent / ".gitignore").write_text("*\n")
    own = Path(sys.executable)
    uv = str(own.parent / "uv")
    # every index may serve: the hashes, not the address, say what is the right file
    env = {**os.environ, **pip_settings(own), "UV_INDEX_STRATEGY": "unsafe-best-match"}
    _run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], env)
    _run([uv, "pip", "sync", "-q", "--require-hashes", "--python", str(python), str(lock)], env)
    stamp.write_text(mark)
    return python


def _run(words: list[str], env: dict[str, str]) -> None:
    try:
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UnavailableError(f"expected {words[0]}, found {error.strerror}") from error
    if done.returncode:
        said = without_addresses(done.stderr)[-600:]
        raise UnavailableError(f"not installable here (uv {words[1]}): {said}")


def version(python: Path, package: str) -> str:
    """Return the version of `package` in the environment of `python`."""
    code = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    done = subprocess.run(
        [str(python), "-c", code, package], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UnavailableError(f"expected the package {package}, found: {done.stderr[-300:]}")
    return done.stdout.strip()
