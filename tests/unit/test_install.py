"""The installer that `make` runs with nothing but Python's standard library."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import venv
from pathlib import Path
from types import ModuleType

import pytest

from airflow_config.place import ROOT

SOURCE = ROOT / "tools" / "install.py"


@pytest.fixture
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tools_install", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_it_needs_the_standard_library_alone() -> None:
    tree = ast.parse(SOURCE.read_text())
    names = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_what_pip_was_told_is_passed_on(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in install.PIP_TO_UV.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "7")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    listing = (
        "global.index-url='https://one.example/simple'\n"
        "global.timeout='60'\n"
        f"install.extra-index-url='\\nhttps://two.example\\nfile://{wheels}\\nfile:///nowhere'\n"
        ":env:.cert='/etc/ca.pem'\n"
        "list.format='columns'\n"
    )
    (tmp_path / "listing").write_text(listing)
    python = program(tmp_path / "python", f"cat {tmp_path}/listing")
    assert install.pip_settings(python) == {
        "UV_DEFAULT_INDEX": "https://one.example/simple",
        "UV_INDEX": f"https://two.example file://{wheels}",
        "SSL_CERT_FILE": "/etc/ca.pem",
    }


def test_a_whole_environment_is_kept(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(venv, "create", lambda *_, **__: pytest.fail("it was made anew"))
    python = program(tmp_path / "venv" / "bin" / "python", "exit 0")
    assert install.make_venv(tmp_path / "venv") == python


@pytest.mark.parametrize("text", ["exit 1", None], ids=["without pip", "without a system"])
def test_a_broken_environment_is_made_anew(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    made = []
    monkeypatch.setattr(venv, "create", lambda folder, **_: made.append(folder))
    python = program(tmp_path / "venv" / "bin" / "python", text or "")
    if text is None:
        python.write_text("#!/no/such/program\n")
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    install.make_venv(tmp_path / "venv")
    assert made == [tmp_path / "venv"]


def test_a_folder_with_other_files_is_never_deleted(install: ModuleType, tmp_path: Path) -> None:
    kept = tmp_path / "letters.txt"
    kept.write_text("dear")
    with pytest.raises(SystemExit, match="found a folder with other files"):
        install.make_venv(tmp_path)
    assert kept.read_text() == "dear"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (subprocess.CalledProcessError(1, "ensurepip"), "apt install python3-venv"),
        (ModuleNotFoundError("ensurepip"), "apt install python3-venv"),
        (PermissionError(13, "Permission denied", "/x"), r"Permission denied \(/x\)"),
    ],
)
def test_an_environment_that_cannot_be_made_is_explained(
    install: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    said: str,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(venv, "create", refuse)
    with pytest.raises(SystemExit, match=said):
        install.make_venv(tmp_path / "venv")


def test_an_old_python_is_refused(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    with pytest.raises(SystemExit, match=r"expected Python 3\.11.*make PYTHON=python3\.12 up"):
        install.main()


def test_a_call_without_a_lock_is_refused(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["install.py", ".venv"])
    with pytest.raises(SystemExit, match="expected a folder and lock files"):
        install.main()


def test_a_step_that_fails_is_named(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "venv" / "bin" / "python", '[ "$2" = pip ] && [ "$3" = install ] && exit 3')
    monkeypatch.setattr(install, "make_venv", lambda folder: folder / "bin" / "python")
    monkeypatch.setattr(sys, "argv", ["install.py", str(tmp_path / "venv"), "requirements.lock"])
    with pytest.raises(SystemExit, match=r"found exit 3 of .*python -m pip install"):
        install.main()


@pytest.mark.parametrize("lock", sorted(ROOT.glob("*.lock")), ids=lambda path: path.name)
def test_every_package_is_pinned_by_hash_and_no_index_is_named(lock: Path) -> None:
    text = lock.read_text()
    packages = re.findall(r"^([A-Za-z0-9][\w.-]*)(\[[^]]*\])?(.*)$", text, re.M)
    assert packages
    assert not [name for name, _, rest in packages if not rest.lstrip().startswith("==")]
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.M)[1:]
    assert not [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block]
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)
