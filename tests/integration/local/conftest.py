"""An instance that runs small programs in place of the stack's parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import stack, status
from deploy.local.instance import Instance
from deploy.local.parts import Part
from deploy.local.site import Site
from tests.programs import Programs, Use, end_all


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "programs")


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    """An instance whose servers and databases need no preparation."""
    monkeypatch.setattr(stack, "prepare_servers", lambda _instance: None)
    monkeypatch.setattr(stack, "_prepare_databases", lambda _instance, _report: None)
    monkeypatch.delenv("AIRLANE_PART", raising=False)
    made = Instance(tmp_path / "home", Site())
    yield made
    end_all(made)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Have the stack consist of these parts."""

    def use(*found: Part) -> None:
        for module in (stack, status):
            monkeypatch.setattr(module, "parts", lambda _instance, _fleet: list(found))

    return use
