"""The DAG files of a release, as Airflow's DAG bundle: its version is the release.

Named by `[dag_processor] dag_bundle_config_list` on a fleet. Runs are not bound to a version
(`disable_bundle_versioning`), because a host has one release at a time, packs and all; so a task
always comes from the release of the host that it runs on, and a run that an upgrade overtook
shows both.
"""

from __future__ import annotations

from airflow.dag_processing.bundles.base import BundleVersion
from airflow.dag_processing.bundles.local import LocalDagBundle

from airflow_config import release


class ReleaseBundle(LocalDagBundle):
    """The folder of DAG files of the release that asks."""

    supports_versioning = True

    def get_current_version(self) -> BundleVersion:
        """Return the release."""
        return BundleVersion(version=release.shown() or release.current())
