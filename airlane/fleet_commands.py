"""Commands about a fleet: what its hosts are told, and what they run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table

from airflow_config import queues
from airflow_config.problems import expected_one_of
from airflow_config.queues import Fleet
from airlane.options import JsonFlag
from airlane.output import console, errors, print_json
from deploy.files import write_private
from deploy.fleet import changes, notes, rendering, secrets, serving
from deploy.fleet import databases as fleet_databases
from deploy.fleet import facts as fleet_facts
from deploy.fleet import members as fleet_members
from deploy.fleet.changes import Change
from deploy.fleet.host import Host, here
from deploy.fleet.secrets import ROLES, Role, SecretsError

#: The group that reads a role's files, where none is named.
_GROUPS: dict[Role, str] = {
    "control": "airlane",
    "worker": "airlane-worker",
    "logs": "airlane-logs",
    "relay": "airlane-relay",
    "flower": "airlane-flower",
    "redis-broker": "redis",
    "redis-events": "redis",
}

PartName = Annotated[
    str, typer.Argument(metavar="PART", help=f"One of {', '.join(serving.PARTS)}.")
]
ClassName = Annotated[
    str | None, typer.Option("--class", metavar="CLASS", help="A worker's class.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(serve)
    _group(app, "secrets", "The fleet's passwords and keys.", init)
    about = "What a fleet's hosts are told and run."
    _group(app, "fleet", about, facts, render, databases, members, part)


def _group(app: typer.Typer, name: str, about: str, *functions: Any) -> None:
    group = typer.Typer(no_args_is_help=True, help=about)
    for function in functions:
        group.command()(function)
    # a group of one command would become that command
    group.callback()(lambda: None)
    app.add_typer(group, name=name)


def render(
    roles: Annotated[
        list[str], typer.Argument(metavar="ROLE...", help=f"Some of {', '.join(ROLES)}.")
    ],
    check: Annotated[bool, typer.Option("--check", help="Say what would change.")] = False,
    group: Annotated[str | None, typer.Option(help="Group that reads the files.")] = None,
    json: JsonFlag = False,
) -> None:
    """Write what roles on this host are told, from site.yaml, queues.yaml and their secrets."""
    host = here()
    # all that can be wrong is looked at before anything is written
    fleet = queues.load(host.queues_file)
    looked = [_look(host, fleet, role, group, check=check) for role in dict.fromkeys(roles)]
    if not check:
        for wanted, found, number in looked:
            changes.write(wanted, found, number)
    lines = [line for _, found, _ in looked for change in found for line in _lines(change)]
    if json:
        changed = [change.path for _, found, _ in looked for change in found]
        print_json({"changed": changed, "diff": "\n".join(lines)})
        return
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    said = "would change" if check else "changed"
    differing = sum(len(found) for _, found, _ in looked)
    console.print(f"{differing} of {sum(len(wanted) for wanted, _, _ in looked)} files {said}.")


def _look(
    host: Host, fleet: Fleet, role: str, group: str | None, *, check: bool
) -> tuple[rendering.Files, list[Change], int | None]:
    """Return what a role's files must be, what has to change, and the group that reads them."""
    if role not in ROLES:
        raise typer.BadParameter(expected_one_of(ROLES, role), param_hint="ROLE")
    known = host.secrets(role)
    wanted = rendering.files(host, fleet, role, known)
    number = _group_number(role, group, check=check)
    owned = [host.state(role) / "classes"] if role == "worker" else []
    return wanted, changes.compare(wanted, owned, known.values(), number), number


def _group_number(role: Role, group: str | None, *, check: bool) -> int | None:
    if group is None and os.geteuid() != 0:
        # an ordinary user tries it out in a folder of its own
        return None
    try:
        return changes.group_number(group or _GROUPS[role])
    except changes.RenderError:
        # in a check the role that makes the group may not have run
        if check:
            return None
        raise


def _lines(change: Change) -> list[str]:
    return [f"{change.action} {change.path}", *(f"    {line}" for line in change.diff)]


def serve(
    part: PartName,
    class_name: ClassName = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print what would run instead of running it.")
    ] = False,
) -> None:
    """Become a part of this host, as its unit of systemd runs it."""
    host = here()
    serving.check_rendered(host, part)
    fleet = serving.rendered_fleet(host, part)
    wanted = serving.program(host, fleet, part, class_name, os.environ)
    if show:
        print_json({"words": wanted.words, "environment": wanted.environment})
        return
    found = notes.note(host, fleet, part, class_name)
    notes.write(found, serving.runtime_folder(os.environ))
    sys.stdout.flush()
    serving.become(wanted)


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Of Ansible's variables.")],
) -> None:
    """Make a fleet's passwords and keys, for ansible-vault; what the file has stays."""
    try:
        content = _content(file) if file.exists() else {"airlane_secrets": {}}
        known = _known(file, content)
        missing = [name for name in secrets.names() if name not in known]
        if not missing:
            console.print(f"Nothing to add to {file}.", markup=False, soft_wrap=True)
            return
        if others := sorted(str(name) for name in content if name != "airlane_secrets"):
            raise SecretsError(
                f"expected airlane_secrets alone in {file}, found {', '.join(others)} too, which "
                "would be lost. Fix: move them to another file of group_vars"
            )
        write_private(file, secrets.as_yaml(known))
    except OSError as error:
        raise SecretsError(
            f"expected to read and write {file}, found: {error.strerror}. Fix: a file in a folder "
            "that is there, and yours"
        ) from None
    console.print(
        f"{len(missing)} secrets written to {file}. Next: ansible-vault encrypt {file}",
        markup=False,
        soft_wrap=True,
    )


def _content(file: Path) -> Any:
    """Return what a file holds; nothing when that is no YAML."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
    if text.startswith("$ANSIBLE_VAULT"):
        raise SecretsError(
            f"expected {file} to be decrypted, found it encrypted. Fix: ansible-vault decrypt "
            f"{file}, airlane secrets init {file}, ansible-vault encrypt {file}"
        )
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        # without the error: it shows the line, which may be a secret
        return None


def _known(file: Path, content: Any) -> dict[str, str]:
    found = content.get("airlane_secrets") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise SecretsError(
            f"expected a mapping airlane_secrets of names to texts in {file}, found none. Fix: "
            "name another file"
        )
    if other := secrets.unknown(found):
        names = ", ".join(other)
        errors.print(f"airlane: {file}: not secrets of airlane: {names}", markup=False)
    return found


def facts(json: JsonFlag = False) -> None:
    """Print what Ansible must know of queues.yaml and of this release."""
    found = fleet_facts.facts(queues.load())
    if json:
        print_json(found)
        return
    table = Table(box=None, padding=(0, 1))
    for column in ("class", "queues", "concurrency", "hosts", "drain limit"):
        table.add_column(column)
    for name, entry in found["classes"].items():
        hosts = entry["hosts"]
        table.add_row(
            *(name, ", ".join(entry["queues"]), str(entry["concurrency"])),
            *(f"{hosts['min']} to {hosts['max']}", f"{entry['drain_limit_s']} s"),
        )
    console.print(table)


def databases(
    check: Annotated[bool, typer.Option("--check", help="Say what would change.")] = False,
    json: JsonFlag = False,
) -> None:
    """Bring the fleet's databases up to this release: schemas, accounts, pools."""
    host = here()
    done = fleet_databases.pending(host) if check else fleet_databases.run(host, os.environ)
    if json:
        print_json({"changed": done})
        return
    for line in done:
        console.print(line, markup=False, soft_wrap=True)
    if not done:
        console.print("The databases are up to date.")


def members(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="members.yml of an inventory.")],
    class_name: Annotated[str, typer.Argument(metavar="CLASS", help="A worker class.")],
    joined: Annotated[str, typer.Option(metavar="HOSTS", help="With commas.")] = "",
    left: Annotated[str, typer.Option(metavar="HOSTS", help="With commas.")] = "",
    json: JsonFlag = False,
) -> None:
    """Note which hosts joined a class and which left it; scale.yml calls it."""
    classes = queues.load().workers
    if class_name not in classes:
        raise typer.BadParameter(expected_one_of(classes, class_name), param_hint="CLASS")
    changed = fleet_members.change(file, classes, class_name, _names(joined), _names(left))
    if json:
        print_json({"changed": changed})
    else:
        console.print(f"{file}: {'changed' if changed else 'not changed'}", markup=False)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def part(
    name: PartName,
    class_name: ClassName = None,
    json: JsonFlag = False,
) -> None:
    """Say whether a part of this host does its work, and runs what it should; exit 1 if not."""
    # it loads the clients of all servers
    from deploy.fleet import running  # noqa: PLC0415

    host = here()
    serving.check_part(name)
    found = running.state(host, serving.rendered_fleet(host, name), name, class_name)
    if json:
        # whoever reads it sees what is wrong: the question was answered
        print_json(found.to_json())
        return
    console.print(found.found, markup=False, soft_wrap=True)
    if found.stale:
        console.print(f"to be restarted: {', '.join(found.stale)}")
    if found.stale or not found.ready:
        raise typer.Exit(1)
