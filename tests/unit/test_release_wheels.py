"""The wheels that the role release makes once, for all hosts."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "deploy" / "ansible" / "roles" / "release/files/make_wheels.sh"


def _wheel(folder: Path, name: str) -> str:
    """Make an empty wheel; return its line of a lock file, up to the marker's place."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return f"--hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_wheels_serve_hosts_of_another_patch_release(tmp_path: Path) -> None:
    """A controller of 3.11.7 makes what Debian's 3.11.2 needs too: redis takes async-timeout."""
    index, checkout = tmp_path / "index", tmp_path / "checkout"
    index.mkdir()
    checkout.mkdir()
    lock = (
        f"always==1.0 {_wheel(index, 'always')}\n"
        f"early==1.0 ; python_full_version < '{sys.version_info[0]}.{sys.version_info[1]}.0' "
        f"{_wheel(index, 'early')}\n"
        f"older==1.0 ; python_full_version < '3.10' {_wheel(index, 'older')}\n"
    )
    (checkout / "requirements.lock").write_text(lock)
    (checkout / "requirements-uv.lock").write_text(f"tool==1.0 {_wheel(index, 'tool')}\n")
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "Lock"]):
        subprocess.run([*git, *words], check=True)
    archive = tmp_path / "wheels.tar"
    subprocess.run(
        ["sh", str(SCRIPT), sys.executable, str(checkout), "HEAD", str(archive)],
        check=True,
        env=os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)},
    )
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        kept = tar.extractfile("requirements.lock")
        assert kept is not None
        assert kept.read().decode() == lock
    assert [name.split("-")[0] for name in names if name.endswith(".whl")] == [
        "always",
        "early",
        "tool",
    ]
