"""A second control host: either of them can be without its scheduler, the first without its API."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import yaml

from tests.hosts.fleet import Fleet
from tests.hosts.inventory import CONTROL
from tests.hosts.machines import await_true
from tests.hosts.network import inside
from tests.hosts.signups import SignUps

SECOND = "h4"
#: What is stopped on a control host that is taken out; `systemctl disable` takes no patterns.
PARTS = (
    *("airlane-scheduler", "airlane-dag-processor", "airlane-triggerer"),
    *("airlane-api-server", "airlane-batch-api"),
)
BEATS = """
SELECT hostname FROM job WHERE job_type = 'SchedulerJob' AND state = 'running'
    AND latest_heartbeat > now() - interval '20 s'
"""


@pytest.fixture
def two(usual: Fleet) -> Iterator[Fleet]:
    """The fleet with a second control host, by inventory alone."""
    file = usual.inventory / "hosts.yml"
    text = file.read_text()
    groups = yaml.safe_load(text)
    groups["control"] = {"hosts": {CONTROL: None, SECOND: None}}
    groups["candidates"]["hosts"].pop(SECOND)
    file.write_text(yaml.safe_dump(groups, sort_keys=False))
    # an address does, for both certificates hold it; a name would need a name server
    settings = usual.inventory / "group_vars" / "all" / "fleet.yml"
    kept = settings.read_text()
    settings.write_text(f"{kept}airlane_api_address: {usual.machines.address(SECOND)}\n")
    yield usual
    file.write_text(text)
    settings.write_text(kept)
    # it would go on to dispatch, and to hold the listener
    refused = usual.play("site", code=None)
    _switch(usual, SECOND, "disable --now", *PARTS)
    usual.play("site")
    assert refused.code
    refused.expect_said("Nothing was changed", f"on {SECOND} too", "systemctl disable --now")
    assert refused.changed() == {}


def _schedulers(fleet: Fleet) -> set[str]:
    return {row["hostname"] for row in fleet.rows("airflow", BEATS)}


def _switch(fleet: Fleet, host: str, verb: str, *units: str) -> None:
    words = " ".join(units or ("airlane-scheduler",))
    fleet.machines.shell(host, f"sudo systemctl {verb} {words}")


def test_work_goes_on_with_either_scheduler(two: Fleet, signups: SignUps) -> None:
    two.play("site")
    await_true(lambda: _schedulers(two) == {CONTROL, SECOND}, "two schedulers", 60)
    address = two.machines.address(SECOND)
    with inside(two.machines.switch):
        answer = httpx.get(
            f"https://{address}/api/v2/version", verify=str(two.ca_file()), trust_env=False
        )
    assert answer.status_code == httpx.codes.OK, answer.text
    for one, other in ((CONTROL, SECOND), (SECOND, CONTROL)):
        _switch(two, one, "stop")
        try:
            await_true(lambda left={other}: _schedulers(two) == left, f"{one} to be off", 60)
            moment = signups.mark()
            two.await_run(two.trigger("fleet_sleepers", count=6, seconds=2))
            await_true(lambda since=moment: len(signups.since(since)) >= 3, "sign-ups", 60)
            signups.check(moment)
        finally:
            _switch(two, one, "start")
    # tasks, the intake and people call what airlane_api_address leads to
    servers = ("airlane-api-server", "airlane-batch-api")
    _switch(two, CONTROL, "stop", *servers)
    try:
        moment = signups.mark()
        await_true(lambda: len(signups.since(moment)) >= 3, "sign-ups", 60)
        signups.check(moment)
    finally:
        _switch(two, CONTROL, "start", *servers)
    assert two.play("site").changed() == {}
