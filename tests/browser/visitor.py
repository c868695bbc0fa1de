"""A person at a real browser: walks through pages, and notices whatever goes wrong behind them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from tests.server import PATIENCE
from tests.world import TenantHandle, UserHandle

#: Chromium writes this about a page that refuses something; which status a page has is the tests' own business.
_REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (400|403|409|422) ")

WIDE = {"width": 1280, "height": 800}
#: The narrowest screen that WCAG 2.2 asks for (1.4.10).
NARROW = {"width": 320, "height": 640}

_NO_SIDEWAYS = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
_TOO_WIDE = """() => [...document.querySelectorAll("body *")]
    .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(element => element.outerHTML.slice(0, 120))"""


@dataclass
class Visitor:
    """One browser with its own cookies. ``problems`` must stay empty."""

    page: Page
    site: TenantHandle
    pictures: Path
    #: Where the browser may go beside the tenant's host: the app that a test plays.
    allowed: set[str]
    has_script: bool
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.page.on("request", self._asked)

    def open(self, path: str) -> None:
        self.page.goto(self.site.url + path)

    def press(self, name: str, *, exact: bool = True) -> None:
        self.page.get_by_role("button", name=name, exact=exact).click()

    def follow(self, name: str, *, exact: bool = False) -> None:
        self.page.get_by_role("link", name=name, exact=exact).first.click()

    def sign_in(self, user: UserHandle, password: str | None = None) -> None:
        """Fill in the sign-in page that is shown."""
        self.page.get_by_label("Email").fill(user.email)
        self.page.get_by_label("Password", exact=True).fill(password or user.password)
        self.press("Sign in")

    def heading(self) -> str:
        return self.page.get_by_role("heading", level=1).inner_text()

    def look(self, name: str) -> None:
        """Take the page's pictures, wide and narrow, light and dark; nothing may reach beyond a narrow screen."""
        self.page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        if not self.page.evaluate(_NO_SIDEWAYS):
            self.problems.append(f"{name} is wider than 320 px: {self.page.evaluate(_TOO_WIDE)}")
        self._picture(f"{name}-320")
        self.page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        self._picture(f"{name}-light")
        self.page.emulate_media(color_scheme="dark")
        self._picture(f"{name}-dark")
        self.page.emulate_media(color_scheme="light")

    def _picture(self, name: str) -> None:
        if not self.has_script:
            return  # the same, without a button or two
        self.page.screenshot(path=self.pictures / f"{name}.png", full_page=True)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not _REFUSED.match(message.text):
            self.problems.append(f"console: {message.text}")

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https"} and parts.netloc not in self.allowed:
            self.problems.append(f"a request to {parts.netloc}")


@contextmanager
def visiting(
    browser: Browser, site: TenantHandle, pictures: Path, app: str | None, *, has_script: bool
) -> Iterator[Visitor]:
    """A visitor of ``site`` who may also be sent to ``app`` (host and port); without problems at the end."""
    context: BrowserContext = browser.new_context(java_script_enabled=has_script, color_scheme="light")
    context.set_default_timeout(PATIENCE * 1000)
    if has_script:
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.url)
    allowed = {f"{site.host}:{site.port}"} | ({app} if app else set())
    visitor = Visitor(context.new_page(), site, pictures, allowed, has_script)
    try:
        yield visitor
        assert visitor.problems == []
    finally:
        context.close()


@dataclass
class Arrival:
    """A request that reached the app."""

    answer: dict[str, str]
    referer: str | None


class Callback(ThreadingHTTPServer):
    """The app behind a redirect URI, on loopback: remembers who came and with what."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _CallbackHandler)
        self.arrivals: list[Arrival] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def redirect_uri(self) -> str:
        return f"http://{self.host}/callback"


class _CallbackHandler(BaseHTTPRequestHandler):
    server: Callback

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        answer = {name: value for name, [value] in query.items()}
        self.server.arrivals.append(Arrival(answer, self.headers["Referer"]))
        page = b"<!doctype html><link rel=icon href=data:,><title>App</title><h1>Back in the app</h1>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


@contextmanager
def receiving() -> Iterator[Callback]:
    with Callback() as callback:
        thread = threading.Thread(target=callback.serve_forever, daemon=True)
        thread.start()
        try:
            yield callback
        finally:
            callback.shutdown()
            thread.join(PATIENCE)
