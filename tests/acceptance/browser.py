"""A real Chromium, for pages as people see them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.needs import need

#: Where pictures for the docs go; without it they go where the test's other files are.
PICTURES = "AIRLANE_PICTURES"

#: No look at the network, and no sandbox of its own, which root may not have.
_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def page(login: tuple[str, str] | None = None) -> Iterator[Page]:
    """Open a page in Debian's Chromium, with a login for HTTP's basic authentication."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    need(chromium, "Chromium (apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_OPTIONS)
        try:
            yield browser.new_page(
                viewport={"width": 1280, "height": 720},
                http_credentials={"username": login[0], "password": login[1]} if login else None,
            )
        finally:
            browser.close()


def picture(shown: Page, name: str, folder: Path) -> Path:
    """Take a picture of what is in sight, for the docs when they are asked for."""
    path = Path(os.environ.get(PICTURES) or folder) / name
    shown.screenshot(path=path)
    return path
