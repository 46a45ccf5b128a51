"""The release on runs: each makes versions of the DAGs, and none where there is only one."""

from __future__ import annotations

import pytest

from airflow_config import release


class Dag:
    def __init__(self) -> None:
        self.tags = {"airlane"}


def test_on_one_machine_a_dag_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(release.VARIABLE, raising=False)
    dag = Dag()
    release.mark(dag)
    assert dag.tags == {"airlane"}


def test_on_a_fleet_a_dag_says_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(release.VARIABLE, "1.2.0+" + "a" * 200)
    dag = Dag()
    release.mark(dag)
    release.mark(dag)
    (tag,) = dag.tags - {"airlane"}
    assert tag.startswith("release 1.2.0+")
    assert len(tag) == 100, "what Airflow's database takes"


def test_the_bundles_version_is_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_config.release_bundle import ReleaseBundle

    monkeypatch.setenv(release.VARIABLE, "1.2.0")
    bundle = ReleaseBundle(name="dags-folder")
    assert bundle.get_current_version().version == "1.2.0"
    assert bundle.supports_versioning
