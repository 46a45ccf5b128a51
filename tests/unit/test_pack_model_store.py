import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dags.packs import model_store
from dags.packs.model_store import ModelStoreError, NoModelError
from tests import stored_models


def info(auc):
    return {"metrics": {"auc": auc}, "reference": {}}


def store(folder, auc, model=None):
    return stored_models.store(folder, model or {"auc": auc}, info(auc))


def test_a_stored_version_is_used_once_it_is_promoted(tmp_path):
    first = store(tmp_path, 0.78)
    assert (first.name, model_store.versions(tmp_path)) == ("risk-1", ["risk-1"])
    with pytest.raises(NoModelError, match="train_risk_model"):
        model_store.promoted(tmp_path)
    assert model_store.promote(tmp_path, "risk-1").promoted
    assert model_store.load(model_store.promoted(tmp_path)) == {"auc": 0.78}


def test_versions_count_on_and_sort_as_numbers(tmp_path):
    names = [store(tmp_path, 0.7).name for _ in range(11)]
    assert names == [f"risk-{n}" for n in range(1, 12)]
    assert model_store.versions(tmp_path) == names


@pytest.mark.parametrize(("auc", "promoted"), [(0.79, True), (0.776, True), (0.774, False)])
def test_a_worse_version_is_not_promoted(tmp_path, auc, promoted):
    model_store.promote(tmp_path, store(tmp_path, 0.78).name)
    result = model_store.promote(tmp_path, store(tmp_path, auc).name)
    assert result.promoted is promoted
    assert f"risk-2 has AUC {auc:.4f}, risk-1 in use has 0.7800" in result.reason
    assert model_store.promoted(tmp_path).name == ("risk-2" if promoted else "risk-1")


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_an_exchanged_file_is_not_unpickled(tmp_path):
    good, evil = store(tmp_path, 0.78), store(tmp_path, 0.78, Trap(tmp_path / "trace"))
    (tmp_path / "trace").unlink()  # whoever stores a model loads it
    evil.path.replace(good.path)
    with pytest.raises(ModelStoreError, match="expected SHA-256"):
        model_store.load(good)
    with pytest.raises(ModelStoreError, match="expected SHA-256"):
        model_store.promote(tmp_path, good.name)
    assert not (tmp_path / "trace").exists()


def test_a_changed_file_is_noticed_by_a_process_that_has_loaded_it(tmp_path):
    version = store(tmp_path, 0.78)
    model_store.load(version)
    assert model_store.load(version) is model_store.load(version)
    version.path.write_bytes(version.path.read_bytes() + b"!")
    with pytest.raises(ModelStoreError, match="torn or exchanged"):
        model_store.load(version)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 7}', '{"version": "../x"}'])
def test_a_broken_pointer_says_what_to_do(tmp_path, content):
    store(tmp_path, 0.78)
    (tmp_path / "promoted.json").write_text(content)
    with pytest.raises(ModelStoreError, match="expected"):
        model_store.promoted(tmp_path)


def test_a_broken_or_missing_description_says_what_to_do(tmp_path):
    version = store(tmp_path, 0.78)
    with pytest.raises(ModelStoreError, match=r"risk-2.json: expected a file of a stored version"):
        model_store.read(tmp_path, "risk-2")
    version.path.with_suffix(".json").write_text(json.dumps({"metrics": {"auc": "high"}}))
    with pytest.raises(ModelStoreError, match="expected the description of a risk model"):
        model_store.read(tmp_path, "risk-1")


def test_a_model_without_an_auc_is_not_stored(tmp_path):
    with pytest.raises(ValueError, match=r"\['metrics'\]\['auc'\]"):
        model_store.packed({}, {"metrics": {}})


def test_files_can_be_read_by_other_logins(tmp_path):
    model_store.promote(tmp_path, store(tmp_path, 0.78).name)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o644}


class Crash(BaseException):
    """Ends the writer as a kill would: nothing that it has not done yet is done."""


CALLS = ("fsync", "open", "fdopen")


def crash_at(monkeypatch, step):
    """Let the n-th call that touches the disk be the last one: not even clean-up runs."""
    count = 0

    def guard(function):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count >= step:
                raise Crash
            return function(*args, **kwargs)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, guard(getattr(os, name)))
    for name in ("replace", "unlink", "chmod"):
        monkeypatch.setattr(Path, name, guard(getattr(Path, name)))


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(plan=st.lists(st.tuples(st.integers(1, 30), st.floats(0.7, 0.8)), min_size=1, max_size=6))
def test_a_crash_at_any_step_leaves_the_old_version_or_the_new_one(tmp_path_factory, plan):
    folder = tmp_path_factory.mktemp("models")
    in_use = store(folder, 0.75).name
    model_store.promote(folder, in_use)
    for step, auc in plan:
        before = model_store.versions(folder)
        with pytest.MonkeyPatch.context() as monkeypatch:
            crash_at(monkeypatch, step)
            try:
                stored = store(folder, auc).name
                model_store.promote(folder, stored)
            except Crash:
                pass
        # Every version that exists is whole; the pointer is the old one or names a new version.
        after = model_store.versions(folder)
        assert after[: len(before)] == before
        for name in after:
            model_store.load(model_store.read(folder, name))
        now = model_store.promoted(folder).name
        assert now == in_use or now in after[len(before) :]
        in_use = now
    # And work goes on.
    assert model_store.promote(folder, store(folder, 0.9).name).promoted
