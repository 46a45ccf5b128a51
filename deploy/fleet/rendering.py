"""What a role's files hold: made from the site file, queues.yaml and the role's secrets.

Nothing here touches the host; `deploy.fleet.changes` compares and writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from airflow_config import settings
from airflow_config.queues import Fleet
from deploy import flower_settings, redis_server
from deploy.fleet.host import AIRFLOW_ROLES, Host
from deploy.fleet.secrets import Role
from deploy.logins import BROKER_ACL, SERVICE_ACCOUNT
from deploy.redis_server import Tls
from intake.keys import EVENTS_ACL
from workers.class_facts import class_facts

Files = dict[Path, str]

#: How long a log that nobody handed over stays where it was written, beyond the longest task.
ORPHANED = 3600


def files(host: Host, fleet: Fleet, role: Role, known: Mapping[str, str]) -> Files:
    """Return the files of a role: path -> content.

    Parameters
    ----------
    host
        The host.
    fleet
        The queue model.
    role
        Whose files.
    known
        The role's secrets.
    """
    found: Files = {}
    if role in AIRFLOW_ROLES:
        found |= _airflow(host, fleet, role, known)
    own = _OWN.get(role)
    if own is not None:
        found |= own(host, fleet, known)
    return found


def _airflow(host: Host, fleet: Fleet, role: Role, known: Mapping[str, str]) -> Files:
    place = host.place(role, known)
    return {
        host.airflow_config(role): settings.render_cfg(
            settings.airflow_settings(fleet, place, AIRFLOW_ROLES[role])
        ),
        host.airflow_home(role) / "config" / "airflow_local_settings.py": (
            settings.local_settings_source()
        ),
        # A file that is being edited must not fail tasks: parts read the copy.
        host.started_queues(role): host.queues_file.read_text(encoding="utf-8"),
    }


def _control(host: Host, _: Fleet, known: Mapping[str, str]) -> Files:
    intake = {
        "api_url": host.site.api.url,
        "api_user": SERVICE_ACCOUNT,
        "api_password": known["airflow_intake"],
        "ca_file": str(host.site.tls.ca),
        "app_db_url": host.app_db_url("airlane_intake", known["airlane_intake"]),
        "events_url": host.events_url("intake", known["events_intake"]),
    }
    return _secret_files(host.state("control"), {"intake": intake})


def _worker(host: Host, fleet: Fleet, known: Mapping[str, str]) -> Files:
    content = {"app_db_url": host.app_db_url("airlane_worker", known["airlane_worker"])}
    found = _secret_files(host.state("worker"), {"worker": content})
    text = settings.render_cfg(
        settings.airflow_settings(fleet, host.place("worker", known), "worker")
    )
    digest = hashlib.sha256(text.encode()).hexdigest()
    folder = host.state("worker") / "classes"
    for name in fleet.workers:
        facts = {**class_facts(fleet, name), "settings": digest}
        found[folder / f"{name}.json"] = json.dumps(facts, indent=2) + "\n"
    return found


def _logs(host: Host, fleet: Fleet, _: Mapping[str, str]) -> Files:
    site = host.site
    longest = max(queue.task_timeout for queue in fleet.queues.values())
    shipping = {
        "tasks": str(host.task_logs),
        "outbox": str(host.outbox),
        # A host that keeps logs itself has its own already.
        "keeps": site.address in site.logs.keepers,
        "keepers": [keeper for keeper in site.logs.keepers if keeper != site.address],
        "user": site.logs.user,
        "key": str(site.logs.key),
        "known_hosts": str(site.logs.known_hosts),
        "orphaned_s": int(longest.total_seconds()) + ORPHANED,
    }
    return {host.state("logs") / "shipping.json": json.dumps(shipping, indent=2) + "\n"}


def _relay(host: Host, _: Fleet, known: Mapping[str, str]) -> Files:
    content = {
        "app_db_url": host.app_db_url("airlane_relay", known["airlane_relay"]),
        "events_url": host.events_url("relay", known["events_relay"]),
    }
    return _secret_files(host.state("relay"), {"relay": content})


def _flower(host: Host, _: Fleet, known: Mapping[str, str]) -> Files:
    text = flower_settings.text(
        port=host.site.flower.port,
        password=known["flower_inspector"],
        cookie=known["flower_cookie"],
        path=host.site.flower.path,
    )
    return {host.state("flower") / "flower.py": text}


def _redis(
    role: Role, name: str, acl: Mapping[str, list[str]]
) -> Callable[[Host, Fleet, Mapping[str, str]], Files]:
    def render(host: Host, _: Fleet, known: Mapping[str, str]) -> Files:
        site = host.site
        server = getattr(site, name)
        acl_file = host.state(role) / "users.acl"
        passwords = {login: known[f"{name}_{login}"] for login in acl}
        # whoever was not restarted yet logs in with the one before
        before = host.former_secrets(role)
        former = {login: before[f"{name}_{login}"] for login in acl if f"{name}_{login}" in before}
        return {
            acl_file: redis_server.acl_text(acl, passwords, former),
            host.state(role) / "server.conf": redis_server.config_text(
                data=host.redis_data(role),
                acl_file=acl_file,
                port=server.port,
                fsync=redis_server.FSYNC[name],
                # beside the address of the host, for probes on it
                bind=" ".join(dict.fromkeys(("127.0.0.1", site.address))),
                tls=Tls(site.tls.ca, site.tls.cert, site.tls.key),
                max_memory=server.max_memory,
            ),
        }

    return render


def _secret_files(folder: Path, contents: Mapping[str, Mapping[str, str]]) -> Files:
    return {
        folder / "secrets" / who / name: value
        for who, content in contents.items()
        for name, value in content.items()
    }


_OWN: Mapping[str, Callable[[Host, Fleet, Mapping[str, str]], Files]] = {
    "control": _control,
    "worker": _worker,
    "logs": _logs,
    "relay": _relay,
    "flower": _flower,
    "redis-broker": _redis("redis-broker", "broker", BROKER_ACL),
    "redis-events": _redis("redis-events", "events", EVENTS_ACL),
}
