"""Flower's settings: every one is an option that the installed Flower knows."""

from __future__ import annotations

import re
import runpy
import stat
from pathlib import Path

import pytest
from flower.options import options

from airflow_config.place import ROOT
from deploy import flower_settings
from deploy.local import flower
from deploy.local.instance import Instance
from deploy.local.site import Site


@pytest.fixture
def written(tmp_path: Path) -> Path:
    made = Instance(tmp_path / "home", Site())
    made.create()
    return flower.write_config(made)


def test_flower_knows_every_setting(written: Path) -> None:
    for name, value in runpy.run_path(str(written)).items():
        if name.startswith("__"):
            continue
        assert name in options, f"Flower knows no option {name}: it would do nothing"
        kind = options._options[name.replace("_", "-")].type
        values = value if isinstance(value, list) else [value]
        assert all(isinstance(one, kind) for one in values), name


def test_nobody_enters_without_a_login_or_changes_anything(written: Path) -> None:
    found = runpy.run_path(str(written))
    assert found["address"] == "127.0.0.1"
    assert found["read_only"] is True
    (login,) = found["basic_auth"]
    assert login.startswith(f"{flower_settings.USER}:")
    assert len(login) > 30


def test_its_password_is_private(written: Path) -> None:
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_it_keeps_as_many_tasks_as_the_docs_say(written: Path) -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    said = re.search(r"It keeps the newest ([\d,]+) tasks, in memory", operations)
    assert said, "docs/operations.md names the bound"
    assert runpy.run_path(str(written))["max_tasks"] == int(said[1].replace(",", "")) == 5_000


def test_its_columns_are_those_that_flower_has(written: Path) -> None:
    from flower.views.tasks import TASK_COLUMNS

    assert set(runpy.run_path(str(written))["tasks_columns"].split(",")) <= set(TASK_COLUMNS)
