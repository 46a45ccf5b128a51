"""The documentation names what the code has, and its links lead somewhere."""

import re
from pathlib import Path

import pytest
import typer

from airflow_config import canary
from airflow_config.place import ROOT
from airflow_config.queue_entries import Queue, WorkerClass
from airflow_config.queues import load
from airlane.cli import app
from airlane.intake_commands import _UNDECIDED
from airlane.queue_state import QueueState
from dags.packs import features
from deploy.local.site import PORT_NAMES, RedisServer, Site
from deploy.local.status import _STATES, PartStatus, Status
from deploy.logins import BROKER_ACL, LOGINS
from intake import keys
from intake.database import GRANTS
from intake.settings import IntakeSettings
from intake.tables import Base
from intake.trigger import LISTENER_DAG

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
PACKAGES = ("airflow_config", "airlane", "dags", "deploy", "intake", "workers")
#: ](target) of a Markdown link, without images' titles.
LINK = re.compile(r"\]\(([^)\s]+)\)")
VARIABLE = re.compile(r"\bAIRLANE_[A-Z][A-Z_]*[A-Z]\b")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.S)


def commands(group, path=()):
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(typer.main.get_command(app)))


def section(text: str, heading: str) -> str:
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^##|\Z)", text, re.S | re.M)
    assert found, f"docs/reference.md: expected the heading {heading!r}, found none"
    return found[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_and_option_is_in_the_reference(name):
    text = section(page("reference.md"), f"### airlane {name}")
    for parameter in COMMANDS[name].params:
        for option in parameter.opts if parameter.param_type_name == "option" else ():
            assert f"`{option}" in text, f"docs/reference.md, airlane {name}: {option} is missing"


def test_the_reference_names_no_command_that_is_not_there():
    headings = re.findall(r"^### airlane (.+)$", page("reference.md"), re.M)
    assert sorted(headings) == sorted(COMMANDS)


def test_each_environment_variable_is_in_the_reference():
    files = [file for name in PACKAGES for file in (ROOT / name).rglob("*.py")]
    used = {name for file in files for name in VARIABLE.findall(file.read_text(encoding="utf-8"))}
    used |= {f"AIRLANE_{name.upper()}" for name in IntakeSettings.model_fields}
    assert used
    text = page("reference.md")
    assert [name for name in sorted(used) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path):
    broken = []
    for target in LINK.findall(without_code(path.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


def anchors(path: Path) -> set[str]:
    """Name a page's headings as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_page_is_linked_from_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in DOCS if f"docs/{path.name}" not in text] == []


def dag_ids() -> set[str]:
    files = [file.read_text(encoding="utf-8") for file in (ROOT / "dags").glob("*.py")]
    found = {name for text in files for name in re.findall(r'dag_id="([^"]+)"', text)}
    assert found
    return {LISTENER_DAG, canary.DAG_ID, *found}


def test_the_reference_has_every_name_that_programs_and_operators_meet():
    names = {
        *(field for shape in (Status, PartStatus, QueueState) for field in shape.__annotations__),
        *(table for table in Base.metadata.tables),
        *(column.name for table in Base.metadata.tables.values() for column in table.columns),
        *LOGINS,
        *GRANTS,
        *BROKER_ACL,
        *keys.EVENTS_ACL,
        *(keys.SIGNUPS, keys.DECISIONS, keys.DEAD, keys.BURIED),
        *PORT_NAMES,
        *(f"{server}.{key}" for server in ("broker", "events") for key in RedisServer.model_fields),
        *_UNDECIDED,
        *_STATES.values(),
        *load().queues,
        *dag_ids(),
    }
    text = page("reference.md")
    shown = [name for name in names if not re.search(rf"[`\"]{re.escape(name)}[`\"]", text)]
    assert sorted(shown) == []
    assert all(f"`{key}" in text for key in Site.model_fields if key != "name")


def test_each_part_that_listens_is_drawn():
    drawn = "\n".join(re.findall(r"```mermaid\n(.*?)```", page("architecture.md"), re.S))
    assert [name for name in PORT_NAMES if f"port {name}" not in drawn] == []


def test_every_key_of_queues_yaml_is_explained():
    text = page("queues.md")
    fields = {*Queue.model_fields, *WorkerClass.model_fields} - {"name"}
    assert [name for name in sorted(fields) if f"| `{name}` |" not in text] == []


def test_what_is_no_feature_is_told_to_data_scientists():
    text = page("packs.md")
    assert [column for column in features.LEFT_OUT if f"`{column}`" not in text] == []
    assert "Sex, marital status, nationality and age are **not features**" in text
