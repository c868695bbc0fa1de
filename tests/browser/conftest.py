"""Headless Chromium, the people who use it, and the app they are sent to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.visitor import Callback, Visitor, receiving, visiting
from tests.postgres import skip_or_fail
from tests.server import PATIENCE
from tests.world import TenantHandle

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium-headless-shell")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        skip_or_fail("no Chromium: install it (apt-get install chromium-headless-shell) or set CHROMIUM")
    # Names of this machine need no resolver: RFC 6761 section 6.3.
    arguments = ["--no-sandbox", "--host-resolver-rules=MAP *.localhost 127.0.0.1"]
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def engine() -> str:
    """What a page shows does not depend on the database; tests/flows/ asks both."""
    return "sqlite"


@pytest.fixture(params=[True, False], ids=["script", "no-script"])
def has_script(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def callback() -> Iterator[Callback]:
    with receiving() as server:
        yield server


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder that KEYPORTER_PICTURES names, for looking at the pages; else one that goes away."""
    folder = Path(os.environ.get("KEYPORTER_PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visit(chromium: Browser, site: TenantHandle, pictures: Path, has_script: bool) -> Iterator[Callable[..., Visitor]]:
    """Make a visitor of the tenant: ``visit()``, or ``visit(app=callback)`` for one who is sent to an app."""
    with ExitStack() as stack:

        def make(app: Callback | None = None) -> Visitor:
            host = app.host if app is not None else None
            return stack.enter_context(visiting(chromium, site, pictures, host, has_script=has_script))

        yield make
