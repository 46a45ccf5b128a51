from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from intake.settings import IntakeSettings, MissingSettingError


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRLANE_SECRETS", str(tmp_path))
    for name in ("APP_DB_URL", "EVENTS_URL", "API_URL", "API_USER", "API_PASSWORD"):
        monkeypatch.delenv(f"AIRLANE_{name}", raising=False)
    return tmp_path


def test_settings_come_from_files_by_their_name(secrets: Path) -> None:
    (secrets / "app_db_url").write_text("postgresql+psycopg://w:x@h/app\n")
    (secrets / "something_else").write_text("ignored")
    assert IntakeSettings().need("app_db_url") == "postgresql+psycopg://w:x@h/app"


def test_the_environment_wins(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "events_url").write_text("redis://file")
    monkeypatch.setenv("AIRLANE_EVENTS_URL", "redis://environment")
    assert IntakeSettings().need("events_url") == "redis://environment"


def test_a_missing_setting_says_where_to_put_it(secrets: Path) -> None:
    with pytest.raises(MissingSettingError, match=r"AIRLANE_API_USER.*the file api_user") as caught:
        IntakeSettings().need("api_user")
    assert str(secrets) in str(caught.value)


def test_without_a_folder_there_are_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRLANE_SECRETS", "/nonexistent")
    assert IntakeSettings().events_url is None


def test_secrets_are_not_shown(secrets: Path) -> None:
    (secrets / "api_password").write_text("hunter2")
    assert "hunter2" not in repr(IntakeSettings())


def test_days_for_which_there_is_no_date_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRLANE_STREAM_DAYS", "36500")
    assert datetime.now(UTC) - timedelta(days=IntakeSettings().stream_days)
    for days in ("1000000", "inf"):
        monkeypatch.setenv("AIRLANE_STREAM_DAYS", days)
        with pytest.raises(ValidationError, match="stream_days"):
            IntakeSettings()
