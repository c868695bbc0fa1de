"""Takes the pictures of README.md and docs/: `make pictures`.

Starts the demo in a temporary folder and walks through it in headless Chromium.
What the documents show goes to docs/pictures/, the other pages, for a person to
look at, to tests/browser/pictures/, which is not kept.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium-headless-shell")

WIDTH = 1280
#: The manage page is long; what is below this is the guide for programs, which the picture only begins.
MOST_HEIGHT = 905
#: Where a picture goes; all others are not kept.
FOLDERS = {"manage": PROJECT / "docs" / "pictures", "consent": PROJECT / "docs" / "pictures"}
NOT_KEPT = HERE / "pictures"


@contextmanager
def demo(folder: Path) -> Iterator[int]:
    """A running demo with its data in ``folder``; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {"PATH": os.environ["PATH"], "KEYPORTER_INSTANCE": str(folder), "PORT": str(port)}
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "flask", "demo"]
        server = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log)
    try:
        _wait(server, port)
        yield port
    finally:
        server.terminate()
        server.wait(timeout=60)


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError("the demo does not start")


class Walk:
    """The demo's pages in one browser, in the order in which a person comes to them."""

    def __init__(self, page: Page, port: int, passwords: dict[str, str]) -> None:
        self._page = page
        self._acme = f"http://acme.localhost:{port}"
        self._sample = f"http://127.0.0.1:{port}"
        self._passwords = passwords

    def pictures(self) -> Iterator[str]:
        """The name of each picture, once the page that it shows is open."""
        page = self._page
        page.goto(f"{self._acme}/login")
        yield "sign-in"
        self._sign_in("ana@acme.example")
        self._follow("Create API client", "Create API client")
        yield "create"
        self._follow("API clients", "API clients")
        self._follow("Power BI finance", "Power BI finance")
        for name in ("Finance report", "Board dashboard"):
            self._follow("Generate a token", "Generate a token for Power BI finance")
            page.get_by_label("Name").fill(name)
            page.get_by_role("button", name="Generate").click()
            self._wait_for("Your token")
            if name == "Finance report":
                yield "token"
            self._follow("Power BI finance", "Power BI finance")
        yield "manage"
        page.get_by_role("button", name="Sign out").click()
        self._wait_for("Sign in to Acme Inc")
        page.goto(f"{self._sample}/ask/acme")
        page.get_by_role("link", name="Acme Inc").last.click()
        self._sign_in("bo@acme.example")
        self._wait_for("Let Field Notes use your Acme Inc account?")
        yield "consent"
        page.get_by_role("button", name="Allow").click()
        page.wait_for_url("**/callback?*")
        page.goto(f"{self._acme}/account/apps")
        yield "connected-apps"

    def _follow(self, link: str, title: str) -> None:
        self._page.get_by_role("link", name=link, exact=True).first.click()
        self._wait_for(title)

    def _wait_for(self, title: str) -> None:
        self._page.get_by_role("heading", name=title, level=1, exact=True).wait_for()
        self._page.wait_for_load_state()

    def _sign_in(self, email: str) -> None:
        self._page.get_by_label("Email").fill(email)
        self._page.get_by_label("Password", exact=True).fill(self._passwords[f"password of {email}"])
        self._page.get_by_role("button", name="Sign in").click()


def take(page: Page, path: Path) -> None:
    """A picture of the page, as high as what stands on it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height = int(page.evaluate("document.querySelector('footer').getBoundingClientRect().bottom + window.scrollY"))
    page.screenshot(
        path=path, clip={"x": 0, "y": 0, "width": WIDTH, "height": min(height, MOST_HEIGHT)}, full_page=True
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, demo(Path(folder)) as port, sync_playwright() as playwright:
        passwords = json.loads((Path(folder) / "demo.json").read_text(encoding="utf-8"))
        rules = "--host-resolver-rules=MAP *.localhost 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", rules])
        page = browser.new_page(viewport={"width": WIDTH, "height": 800}, color_scheme="light")
        for name in Walk(page, port, passwords).pictures():
            take(page, FOLDERS.get(name, NOT_KEPT) / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
