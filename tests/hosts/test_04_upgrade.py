"""A new release over a fleet at work; one that does not work; and the way back."""

from __future__ import annotations

import re
import secrets

import httpx
import pytest
import redis

from tests.hosts.fleet import Fleet
from tests.hosts.inventory import CONTROL
from tests.hosts.load import load
from tests.hosts.network import inside
from tests.hosts.signups import SignUps

#: Seconds: the promise of the queue onboarding, end to end, for 95 % of the sign-ups.
PROMISE = 180

PACK = "dags/packs/strategy.py"


def _p95(values: list[float]) -> float:
    return values[max(0, -(-len(values) * 95 // 100) - 1)]


def _releases(fleet: Fleet) -> dict[str, str]:
    return {name: worker["release"] for name, worker in fleet.workers().items()}


def _change(fleet: Fleet, old: str, new: str, subject: str) -> str:
    """Change the pack and return the commit's first twelve characters, as releases show them."""
    file = fleet.project / PACK
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return fleet.commit(subject)[:12]


def test_a_changed_pack_reaches_a_fleet_at_work(fleet: Fleet, signups: SignUps) -> None:
    fleet.have(onboarding=3, batch=1)
    since, moment = fleet.now(), signups.mark()
    environments = _environments(fleet)
    commit = _change(fleet, "from __future__", "# a new version\nfrom __future__", "Change a pack")
    with load(fleet, count=12, seconds=30):
        played = fleet.play("upgrade")
    # the lock file is the same
    assert _environments(fleet) == environments
    # it was at work when it was drained
    assert re.search(r"h2\s+drains\s[^:]*:\s+tasks\s+that\s+run\s+[1-9]", played.output)
    assert all(commit in release for release in _releases(fleet).values()), _releases(fleet)
    # each host by a canary of its own
    answered = set(re.findall(r"(h\d): [a-z, ]+ answered", played.output))
    assert answered == {worker["host"] for worker in fleet.workers().values()}
    assert fleet.interrupted(since) == []
    waits, silence = signups.seconds(signups.check(moment)), signups.silence(moment)
    fleet.times.append(("sign-ups during the upgrade, p95", _p95(waits)))
    fleet.times.append(("the longest time without a decision during it", silence))
    assert _p95(waits) <= PROMISE
    assert silence <= PROMISE


def test_a_release_whose_canary_fails_stops_at_the_first_host(
    fleet: Fleet, signups: SignUps
) -> None:
    fleet.have(onboarding=3, batch=1)
    before = _releases(fleet)
    # it can be imported and parsed; it fails when it is asked
    old = '    probability = score["score"]\n'
    bad = _change(fleet, old, f"{old}    raise RuntimeError('no idea')\n", "Break a pack")
    try:
        played = fleet.play("upgrade", code=2)
        played.expect_said("stays off duty", "rollback.yml")
        after = _releases(fleet)
        spoilt = {name for name, release in after.items() if bad in release}
        assert len({name.partition("@")[2] for name in spoilt}) == 1, spoilt
        untouched = before.keys() - spoilt
        assert [after[name] for name in untouched] == [before[name] for name in untouched]
        # nobody's sign-up went through it
        stopped = fleet.workers()
        assert all(stopped[name]["queues"] == [] for name in spoilt)
        signups.check()
        fleet.play("rollback")
        assert _releases(fleet) == before
        assert all(worker["queues"] for worker in fleet.workers().values())
        fleet.play("rollback", version=_version(fleet))
        assert _releases(fleet) == before, "a second time it stays"
    finally:
        # the release that the fleet runs is the newest again
        fleet.git("reset", "-q", "--hard", "HEAD~1")


def _environments(fleet: Fleet) -> str:
    """Return the environments of h2, and when each was made."""
    words = "stat --format='%n %y' /opt/airlane/environments/*/.complete"
    return fleet.machines.shell("h2", words)


def _version(fleet: Fleet) -> str:
    return fleet.machines.shell(CONTROL, "basename $(readlink -f /opt/airlane/current)").strip()


def test_a_changed_queue_model_restarts_what_it_touches_only(
    usual: Fleet, signups: SignUps
) -> None:
    onboarding, batch = _began(usual, "onboarding"), _began(usual, "batch")
    text = usual.queues.read_text()
    usual.queues.write_text(text.replace("concurrency: 6", "concurrency: 5"))
    try:
        usual.play("upgrade")
        assert usual.workers()["batch@h2"]["concurrency"] == 5
        assert _began(usual, "batch") != batch
        assert _began(usual, "onboarding") == onboarding
        assert usual.play("upgrade").changed() == {}
    finally:
        usual.queues.write_text(text)
        usual.play("upgrade")


def test_new_passwords_reach_a_fleet_at_work(usual: Fleet, signups: SignUps) -> None:
    """Without an interruption: the producers' own password stays as it is."""
    old, broker = usual.secrets["airlane_worker"], usual.redis_url("broker", "airflow")
    usual.change_secrets(
        airlane_worker="a-new-password-of-the-workers", broker_airflow="another-one-for-it"
    )
    usual.play("rotate-secrets")
    assert usual.login_fails("app", "airlane_worker", old)
    with inside("h2"), redis.Redis.from_url(broker) as client, pytest.raises(redis.RedisError):
        client.ping()
    for node in usual.workers():
        usual.airlane("canary", node)


def test_new_signing_keys_reach_a_fleet_in_a_short_halt(usual: Fleet, signups: SignUps) -> None:
    since = usual.now()
    with usual.airflow() as client:
        token = {"Authorization": client.headers["Authorization"]}
    usual.change_secrets(
        jwt_secret=secrets.token_urlsafe(48), api_secret_key=secrets.token_urlsafe(24)
    )
    refused = usual.play("rotate-secrets", code=2)
    refused.expect_said("Nothing was changed", "-e rotate_keys=true")
    with load(usual, count=6, seconds=20):
        usual.play("rotate-secrets", rotate_keys=True)
    assert usual.interrupted(since) == []
    with usual.airflow() as client:
        assert client.get("/api/v2/dags").status_code == httpx.codes.OK
        answer = client.get("/api/v2/dags", headers=token)
        # 401 is for tokens that have expired (Airflow 3.3.2, core_api/security.py)
        assert answer.status_code == httpx.codes.FORBIDDEN, "a token of the former key"
    for node in usual.workers():
        usual.airlane("canary", node)


def _began(fleet: Fleet, class_name: str) -> str:
    """Return when a worker of h2 was started."""
    words = f"systemctl show -p ExecMainStartTimestampMonotonic --value airlane-worker@{class_name}"
    return fleet.machines.shell("h2", words).strip()
