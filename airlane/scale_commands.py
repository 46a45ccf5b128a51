"""The command that changes how many hosts a worker class has."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from airflow_config.place import ROOT
from airlane.output import errors

_FOLDER = ROOT / "deploy" / "ansible"
#: Made by `make ansible`.
_ANSIBLE = ROOT / ".venv-ansible" / "bin"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(scale)


def scale(
    class_name: Annotated[str, typer.Argument(metavar="CLASS", help="A worker class.")],
    count: Annotated[int, typer.Argument(metavar="COUNT", help="Hosts that it is to have.", min=0)],
    inventory: Annotated[
        Path, typer.Option("--inventory", "-i", envvar="ANSIBLE_INVENTORY", help="The fleet's.")
    ],
    *,
    hosts_in: Annotated[
        str, typer.Option("--hosts-in", metavar="HOSTS", help="These join first; with commas.")
    ] = "",
    hosts_out: Annotated[
        str, typer.Option("--hosts-out", metavar="HOSTS", help="These leave; with commas.")
    ] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Say what it would do, and do nothing.")
    ] = False,
) -> None:
    """Bring a worker class to a number of hosts, by the playbook scale.yml."""
    if not inventory.exists():
        raise typer.BadParameter(
            f"expected an inventory, found nothing at {inventory}", param_hint="--inventory"
        )
    path = os.pathsep.join([str(_ANSIBLE), os.environ.get("PATH", os.defpath)])
    program = shutil.which("ansible-playbook", path=path)
    if program is None:
        errors.print(
            f"airlane: expected ansible-playbook in {_ANSIBLE} or on PATH, found none. "
            "Fix: make ansible",
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(2)
    words = [program, "-i", str(inventory.resolve()), "playbooks/scale.yml"]
    wanted = {"class": class_name, "count": count, "hosts_in": hosts_in, "hosts_out": hosts_out}
    # as JSON: of `-e hosts_out=w2, w7` Ansible would take w2 alone, and say nothing
    words += ["-e", json.dumps({name: value for name, value in wanted.items() if value != ""})]
    words += ["--check"] if check else []
    sys.stdout.flush()
    # where its ansible.cfg is
    os.chdir(_FOLDER)
    # in our place: who interrupts it has Ansible end as it does otherwise, and sees its exit code
    os.execv(program, words)  # noqa: S606
