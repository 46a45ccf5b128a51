"""Risk models in a folder, as the DAG `train_risk_model` leaves them there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dags.packs import model_store
from dags.packs.model_store import Version


def store(folder: Path, model: object, info: Mapping[str, Any]) -> Version:
    """Store a model under the next free name; it is not used until it is promoted."""
    content, description = model_store.packed(model, info)
    name = f"risk-{model_store.newest(folder) + 1}"
    return model_store.adopt(folder, name, content, description)
