"""Real hosts for the session: a control host and three for workers, and sign-ups all the time.

Tests build on each other in the order of the files, as an operator would go: a fleet is made once.
They need root, debootstrap and systemd-container: a person without them sees a skip, CI a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.hosts.fleet import Fleet
from tests.hosts.inventory import CANDIDATES, CONTROL
from tests.hosts.machines import Machines, await_true
from tests.hosts.signups import SignUps
from tests.needs import ansible_commands, need

#: Seconds for one test that would never end; on two slow cores an upgrade takes 20 minutes.
_TIMEOUT = 7200

_TOOLS = ("debootstrap", "systemd-nspawn", "ip", "nsenter", "ssh", "unshare")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "short: of the named short suite that CI runs (20 minutes)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "hosts" in Path(str(item.fspath)).parts and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_TIMEOUT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show below a failure what every host has to say."""
    report = yield
    fleet = getattr(item, "funcargs", {}).get("session_fleet")
    if report.failed and report.when == "call" and isinstance(fleet, Fleet):
        for host in (CONTROL, *CANDIDATES):
            words = (
                "systemctl --failed --no-legend; sudo journalctl -p warning -n 25 -o cat --no-pager"
            )
            done = fleet.machines.run("ssh", host[1:], words, check=False, deadline=20)
            report.sections += [(f"{host}: failed units, warnings", done.stdout[-4000:])]
    return report


@pytest.fixture(scope="session")
def ansible() -> Path:
    """Folder of the commands of Ansible."""
    return ansible_commands("ansible-playbook")


@pytest.fixture(scope="session")
def machines() -> Iterator[Machines]:
    """The hosts, booted and bare."""
    need(os.geteuid() == 0, "root, to make hosts")
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    need(not missing, f"{', '.join(missing)} (apt install debootstrap systemd-container iproute2)")
    state = Path(os.environ.get("TESTHOSTS_STATE") or Path(__file__).parent / "testhosts" / "state")
    machines = Machines(state)
    try:
        machines.up(1 + len(CANDIDATES), keep="AIRLANE_FLEET" in os.environ)
        yield machines
    finally:
        if not os.environ.get("AIRLANE_KEEP_HOSTS"):
            machines.down()


@pytest.fixture(scope="session")
def session_fleet(
    machines: Machines, ansible: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """The fleet in whatever state the test before has left it; bare hosts at first.

    AIRLANE_FLEET names the folder of one that another session has left on hosts which it kept
    (AIRLANE_KEEP_HOSTS): to look at one test again without making a fleet anew.
    """
    if "AIRLANE_FLEET" in os.environ:
        fleet = Fleet(machines, Path(os.environ["AIRLANE_FLEET"]), ansible)
        fleet.take_over()
    else:
        fleet = Fleet(machines, tmp_path_factory.mktemp("fleet"), ansible)
        fleet.prepare()
    yield fleet
    for said, seconds in fleet.times:
        print(f"{seconds:7.1f} s  {said}")  # noqa: T201 - the note quotes it


@pytest.fixture(scope="session")
def session_signups(session_fleet: Fleet) -> Iterator[SignUps]:
    """The application, from the first use on to the end of the session."""
    need_fleet(session_fleet)
    url = session_fleet.redis_url("events", "producer")
    signups = SignUps(url, session_fleet.machines.switch)
    signups.start()
    try:
        yield signups
    finally:
        signups.stop()


@pytest.fixture
def fleet(session_fleet: Fleet) -> Fleet:
    """The fleet, made."""
    need_fleet(session_fleet)
    return session_fleet


@pytest.fixture
def signups(fleet: Fleet, session_signups: SignUps) -> Iterator[SignUps]:
    """Sign-ups that flow; at the end of the test all of its own must be decided, each once."""
    moment = session_signups.mark()
    yield session_signups
    fleet.once(session_signups.check(moment))


@pytest.fixture
def usual(fleet: Fleet) -> Fleet:
    """The fleet with the hosts that it had at the beginning."""
    fleet.have(onboarding=1, batch=1)
    return fleet


def need_fleet(fleet: Fleet) -> None:
    """Make the fleet when no test before has, and give it a model."""
    if fleet.is_made:
        return
    fleet.play("site")
    wanted = {"signup_listener", "onboarding", "train_risk_model"}
    wanted |= {"airlane_canary", "fleet_sleepers"}
    parsed = "SELECT dag_id FROM dag WHERE NOT is_stale"
    await_true(
        lambda: wanted <= {row["dag_id"] for row in fleet.rows("airflow", parsed)},
        "the DAG files to be read",
        180,
    )
    fleet.await_run(fleet.trigger("train_risk_model"))
    fleet.is_made = True
