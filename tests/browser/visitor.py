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

#: Comes from npm, with the clients that nobody here wrote.
AXE = Path(__file__).parents[1] / "clients" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
_RUN_AXE = """async () => (await axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    resultTypes: ["violations"],
})).violations"""

_NO_SIDEWAYS = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
_TOO_WIDE = """() => [...document.querySelectorAll("body *")]
    .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(element => element.outerHTML.slice(0, 120))"""


def find_barriers(page: Page) -> list[str]:
    """What axe finds on the page against WCAG 2.2 AA: the rule, and where."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(_RUN_AXE)
    return [f"{rule['id']} ({rule['help']}): {node['html'][:200]}" for rule in found for node in rule["nodes"]]


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
        """Look at the page wide and narrow, light and dark, as axe does, and take its pictures.

        Nothing may reach beyond a narrow screen.
        """
        with self._readable() as readable:
            pages = {self.page, readable}
            for size, width in ((NARROW, "320"), (WIDE, "1280")):
                for page in pages:
                    page.set_viewport_size(size)  # type: ignore[arg-type]
                if not self.page.evaluate(_NO_SIDEWAYS):
                    self.problems.append(f"{name} is wider than {width} px: {self.page.evaluate(_TOO_WIDE)}")
                for scheme in ("dark", "light"):
                    for page in pages:
                        page.emulate_media(color_scheme=scheme)
                    self._look_once(readable, f"{name}-{width}-{scheme}")

    def _look_once(self, readable: Page, name: str) -> None:
        self.problems += [f"axe, {name}: {finding}" for finding in find_barriers(readable)]
        if self.has_script:  # without it the same, less a button or two
            self.page.screenshot(path=self.pictures / f"{name}.png", full_page=True)

    @contextmanager
    def _readable(self) -> Iterator[Page]:
        """The page where axe can run: what a browser without script shows is laid before one with it, unchanged."""
        if self.has_script:
            yield self.page
            return
        shown, browser = self.page.content(), self.page.context.browser
        context = browser.new_context()
        try:
            page = context.new_page()
            page.route("**/*.js*", lambda route: route.abort())
            address = self.page.url.partition("#")[0]
            page.route(address, lambda route: route.fulfill(body=shown, content_type="text/html; charset=utf-8"))
            page.goto(address)
            yield page
        finally:
            context.close()

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
