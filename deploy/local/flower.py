"""Flower's settings of an instance."""

from __future__ import annotations

from pathlib import Path

from deploy import flower_settings
from deploy.files import write_private
from deploy.local.instance import Instance


def write_config(instance: Instance) -> Path:
    """Write Flower's settings file and return its path."""
    path = instance.run / "flower.py"
    text = flower_settings.text(
        port=instance.port("flower"),
        password=instance.keys["flower_inspector"],
        cookie=instance.keys["flower_cookie"],
    )
    write_private(path, text)
    return path
