"""Install the locked environment: a venv, uv in it, then what the lock files name.

Needs nothing but Python's standard library (3.11+, with venv). uv does not read pip's
configuration, so what pip was told of an index, a proxy or a certificate is passed on to it.

    python3 tools/install.py [--packages-only] VENV [LOCK ...]

With --packages-only the project itself stays out: for tools that are not to see it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
UV_LOCK = ROOT / "requirements-uv.lock"
PACKAGES_ONLY = "--packages-only"

#: pip's settings, and the variable by which uv takes the same.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "proxy": "ALL_PROXY",
    "cert": "SSL_CERT_FILE",
    "timeout": "UV_HTTP_TIMEOUT",
}


def fail(message: str) -> NoReturn:
    """Say what is missing and how to mend it, and end."""
    sys.exit(f"airlane: {message}")


def pip_settings(python: Path) -> dict[str, str]:
    """Return uv's variables for what pip's files and environment say; those already set win."""
    listing = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found = dict(re.findall(r"^(?:global|install|:env:)\.([\w-]+)='(.*)'$", listing, re.M))
    settings = {}
    for name, variable in PIP_TO_UV.items():
        value = found.get(name, "").replace("\\n", " ").strip()
        # a folder that is not there stops uv, where pip only warns
        urls = [u for u in value.split() if not _missing_folder(u)]
        if urls:
            settings[variable] = " ".join(urls)
    return {k: v for k, v in settings.items() if k not in os.environ}


def _missing_folder(url: str) -> bool:
    return url.startswith("file://") and not Path(url.removeprefix("file://")).is_dir()


def make_venv(folder: Path) -> Path:
    """Return the Python of a venv in `folder`, made when it is not there or not whole."""
    python = folder / "bin" / "python"
    # an interrupted start leaves a Python without pip, another system's one that does not run
    if python.exists() and _succeeds([python, "-c", "import pip"]):
        return python
    if folder.exists() and not (folder / "pyvenv.cfg").exists() and any(folder.iterdir()):
        fail(
            f"expected a virtual environment in {folder}, or nothing, found a folder with other "
            "files, which would be deleted. Name another one: make VENV=FOLDER up"
        )
    print(f"Making a virtual environment in {folder} ...", flush=True)
    try:
        venv.create(folder, with_pip=True, clear=True)
    except (subprocess.CalledProcessError, ModuleNotFoundError):
        fail(
            f"expected a working venv module, found none in {sys.executable}. "
            "On Debian or Ubuntu: apt install python3-venv"
        )
    except OSError as error:
        fail(f"expected to make {folder}, found: {error.strerror} ({error.filename})")
    return python


def _succeeds(words: list[str | Path]) -> bool:
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def main() -> None:
    """Install what the arguments name."""
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        fail(
            f"expected Python 3.11, 3.12 or 3.13, found {sys.version.split()[0]} "
            f"({sys.executable}). Name another one: make PYTHON=python3.12 up"
        )
    words = [word for word in sys.argv[1:] if word != PACKAGES_ONLY]
    if len(words) < 2:
        fail("expected a folder and lock files: tools/install.py VENV LOCK [LOCK ...]")
    folder, locks = Path(words[0]), words[1:]
    python = make_venv(folder)
    uv = folder / "bin" / "uv"
    env = {**os.environ, **pip_settings(python)}
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    names = [word for lock in locks for word in ("-r", lock)]
    into = ["--python", python]
    # every index may serve: the hashes, not the address, say what is the right file
    any_index = ["--index-strategy", "unsafe-best-match"]
    steps = [
        [python, "-m", "pip", "install", "-q", "--require-hashes", "-r", UV_LOCK],
        [uv, "pip", "install", *into, "--require-hashes", *any_index, *quiet, *names],
        [uv, "pip", "install", *into, "--no-deps", "--no-build-isolation", "-q", "-e", ROOT],
    ]
    if PACKAGES_ONLY in sys.argv:
        del steps[-1]
    print("Installing the locked packages ...", flush=True)
    for step in steps:
        done = subprocess.run([str(part) for part in step], env=env, check=False)
        if done.returncode:
            fail(
                f"expected to install the locked packages, found exit {done.returncode} of "
                f"{' '.join(map(str, step[:4]))} ...; its own message is above. A package index "
                "must be reachable: pip's settings are used (pip config list). Then: make again"
            )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)  # the next make goes on
