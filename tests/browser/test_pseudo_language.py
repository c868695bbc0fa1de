"""A language that nobody speaks: each text accented, longer by 40 % and in brackets.

What is outside of brackets does not go through gettext, and what is too wide for
a narrow screen will be so in the first language with long words.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from flask import Flask
from playwright.sync_api import Page
from werkzeug.serving import make_server

from app.accounts import registry as accounts
from app.clients import registry
from app.languages import writing
from app.mail import outbox
from app.tokens import store
from tests.browser.visitor import _NO_SIDEWAYS, _TOO_WIDE, NARROW, visiting
from tests.databases import close, make_app
from tests.test_languages import PLACEHOLDER, sources
from tests.world import Machine, authorize_address, now

pytestmark = [pytest.mark.browser, pytest.mark.server]

_ACCENTS = str.maketrans("AEIOUYCNSaeiouycns", "ÅÉÎÕÜÝÇÑŠåéîõüýçñš")

#: What is the same in every language: names of the world's inhabitants, of things and of files, addresses and ids.
NAMES = re.compile(
    r"\S*[\d_@]\S*|\S+[.]\w\S*|kp[as]\w*"
    r"|Acme|Keyporter|Ana Ruiz|Bo Lind|Field App|Field Inc|Power BI|Power Query M|Finance report|Postman|PowerShell|C#"
    r"|HTML|curl|Python|JavaScript|English|Deutsch|Español|CSV|JSON|UTC|powerbi|\bsign-in\b|[.]env\b"
)

#: Without code, times (of which the reader's language is another test's business), what somebody typed, and those
#: notes of the audit log that are names or values, or refusals of a hand-over: see app/audit/notes.py.
_TEXT = """() => {
    const page = document.body.cloneNode(true);
    const others = "code, pre, time, textarea, script, style, [data-value], [lang=en]";
    page.querySelectorAll(others).forEach(element => element.remove());
    page.querySelectorAll("*").forEach(element => element.append(" "));
    const spoken = [...page.querySelectorAll("[aria-label], [placeholder], [alt], [title]")].flatMap(element =>
        ["aria-label", "placeholder", "alt", "title"].map(name => element.getAttribute(name) || ""));
    return [document.title, page.textContent, ...spoken].join("\\n");
}"""


def pseudo(text: str) -> str:
    """``[ ... ]`` around ``text``, without a letter of English save in what stands for a value."""
    pieces = re.split(f"({PLACEHOLDER.pattern})", text)
    accented = "".join(piece if number % 2 else piece.translate(_ACCENTS) for number, piece in enumerate(pieces))
    longer = "õné twõ "[: max(1, len(text) * 4 // 10)] * 50
    return f"⟦{accented} {longer[: max(1, len(text) * 4 // 10)].strip() or 'õ'}⟧"


def outside_of_brackets(text: str) -> str:
    kept, depth = [], 0
    for letter in text:
        depth += (letter == "⟦") - (letter == "⟧")
        kept.append(" " if depth or letter == "⟧" else letter)
    assert depth == 0, "a text ends before its bracket"
    return "".join(kept)


@pytest.fixture(scope="session")
def catalogues(tmp_path_factory):
    """A folder with the language in place of English."""
    catalogue = Catalog(locale="en")
    for message in sources():
        several = isinstance(message, tuple)
        catalogue.add(message, tuple(map(pseudo, message)) if several else pseudo(message))
    folder = tmp_path_factory.mktemp("pseudo")
    path = folder / "en" / "LC_MESSAGES" / "messages.mo"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_mo(file, catalogue)
    return folder


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def app(database_url, catalogues, port) -> Iterator[Flask]:
    app = make_app(database_url, PORT=port)
    app.extensions["babel"].translation_directories = [str(catalogues)]
    yield app
    close(app)


@pytest.fixture
def site(world, port):
    return world.site(port)


@pytest.fixture(params=[True], ids=["script"])
def has_script(request):
    return request.param


@contextmanager
def served(app: Flask, port: int) -> Iterator[None]:
    """In this process: the catalogue is this application's alone."""
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def visitor(app, port, site, chromium, pictures, has_script):
    with served(app, port), visiting(chromium, site, pictures, None, has_script=has_script) as visitor:
        visitor.page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        yield visitor


def look(page: Page, name: str) -> list[str]:
    """What is wrong with the page that is shown."""
    wrong = [] if page.evaluate(_NO_SIDEWAYS) else [f"{name} is too wide: {page.evaluate(_TOO_WIDE)}"]
    text = page.evaluate(_TEXT)
    if "⟦" not in text:
        return [*wrong, f"{name}: nothing is translated"]
    left = NAMES.sub(" ", outside_of_brackets(text))
    words = re.findall(r"[A-Za-z][A-Za-z]+(?: [A-Za-z]+)*", left)
    return wrong + ([f"{name}: {words}"] if words else [])


def test_all_texts_of_the_mails_are_translated(app, world, tenant, browser):
    admin, member = world.admin(tenant), world.user(tenant)
    client, connected = world.client(tenant, "powerbi"), world.oauth_app(tenant)
    browser.sign_in(member)
    browser.get_code(connected)
    invited = world.run(lambda: accounts.create_user(tenant.id, "cy@acme.example", "Ana Ruiz", now(), admin=False).id)

    def make_token():
        token = store.new_token(now() + 86_400)
        registered = registry.find_registered_client(tenant.id, client.client_id, now())
        store.save_client_token(registered, token, scope="", now=now(), name="Finance report", made_by="Ana Ruiz")
        return token

    token = world.run(make_token)
    app_pk = world.run(lambda: registry.find_registered_client(tenant.id, connected.client_id, now()).pk)
    named = {"client": client.pk, "actor": "Bo Lind", "name": "Finance report", "hint": "kpa1...9"}
    ending = named | {"month": token.expiry_month, "digest": token.digest.hex(), "expires_at": token.expires_at}
    world.run(lambda: registry.allow_managing(registry.find_api_client(tenant.id, client.pk), now()))
    leaked = {"client": client.pk, "client_name": "Power BI", "hint": "kpa1...9"}
    mails = [
        ("client.created", named, admin.email),
        ("secret.changed", named | {"stops_at": None}, admin.email),
        ("secret.changed", named | {"stops_at": now() + 3600}, admin.email),
        ("token.created", ending, admin.email),
        ("token.expires", ending, admin.email),
        ("token.expired", ending, admin.email),
        ("token.revoked", named, admin.email),
        ("token.revoked", named | {"name": None}, admin.email),
        ("tokens.revoked", named, admin.email),
        ("client.managing_allowed", named, admin.email),
        ("token.leaked", leaked, admin.email),
        ("secret.leaked", leaked, admin.email),
        ("own_token.leaked", leaked, member.email),
        ("user.invited", {"user": invited, "by": "Ana Ruiz"}, "cy@acme.example"),
        ("user.reset", {"user": member.id}, member.email),
        ("app.connected", {"client": app_pk, "at": now(), "is_device": False}, member.email),
        ("app.connected", {"client": app_pk, "at": now(), "is_device": True}, member.email),
    ]
    # Other tests of this process may have made kinds of their own.
    assert {kind for kind, *_ in mails} == {kind for kind in outbox._renderers if not kind.startswith("test.")}

    wrong = []
    for kind, parameters, recipient in mails:

        def write(kind=kind, parameters=parameters, recipient=recipient):
            with writing(""):
                return outbox.find_renderer(kind)(tenant.id, parameters, recipient)

        mail = world.run(write)
        assert mail is not None, kind
        for text in (mail.subject, mail.body):
            assert "⟦" in text, kind
            wrong += [
                f"{kind}: {word}" for word in re.findall("[A-Za-z]{2,}", NAMES.sub(" ", outside_of_brackets(text)))
            ]
    assert not wrong, "\n".join(wrong)


def submit(page: Page) -> None:
    """Press the page's main button, whatever it says."""
    page.locator("main form .buttons button:not(.plain):not(.secondary)").last.click()


def test_all_texts_of_the_main_pages_are_translated_and_fit(visitor, world, site, app):
    page, wrong = visitor.page, []
    admin, person = world.admin(site), world.user(site)
    client = world.client(site, "powerbi")
    Machine(app, site).token(client)
    oauth_app = world.oauth_app(site)
    clients = "/settings/app/api-clients"

    def see(name: str, path: str | None = None) -> None:
        if path is not None:
            visitor.open(path)
        wrong.extend(look(page, name))

    see("sign-in", "/login")
    page.locator("#email").fill(admin.email)
    page.locator("#password").fill("incorrect horse battery")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]")
    see("sign-in-wrong")
    see("forgotten", "/forgotten-password")
    see("consent-stranger", authorize_address(oauth_app))
    page.locator("#email").fill(admin.email)
    page.locator("#password").fill(admin.password)
    page.keyboard.press("Enter")
    page.wait_for_selector("button[name=decision]")
    see("consent")
    see("refused", authorize_address(oauth_app, redirect_uri="https://elsewhere.example/"))

    see("create", f"{clients}/new")
    submit(page)
    see("create-wrong")
    page.locator("#name").fill("Finance report")
    submit(page)
    see("created")
    see("clients", clients)
    see("client", f"{clients}/{client.pk}")
    see("edit", f"{clients}/{client.pk}/edit")
    see("secret", f"{clients}/{client.pk}/secret")
    submit(page)
    see("secret-changed")
    see("generate-token", f"{clients}/{client.pk}/tokens/new")
    page.locator("#name").fill("Finance report")
    submit(page)
    see("token")
    see("client-with-tokens", f"{clients}/{client.pk}")
    revoke = page.locator("a[href*='/tokens/'][href$='/revoke']").first.get_attribute("href")
    see("revoke-token", revoke)
    see("self-made-tokens", f"{clients}/{client.pk}/tokens")
    see("revoke-all", f"{clients}/{client.pk}/revoke-all")
    see("activity", f"{clients}/{client.pk}/activity")
    see("delete", f"{clients}/{client.pk}/delete")
    see("members", "/settings/members")
    see("member", f"/settings/members/{person.id}")
    see("promote", f"/settings/members/{person.id}/promote")
    see("invite", "/settings/members/invite")
    submit(page)
    see("invite-wrong")
    see("audit-log", "/settings/audit-log")
    see("developers", "/developers")
    see("account", "/account")
    see("no-apps", "/account/apps")
    see("device", "/device")
    submit(page)
    see("device-wrong")
    see("not-found", "/nothing")
    # The browser's own words for the page that is not there.
    assert "404" in visitor.problems.pop()

    assert not wrong, "\n".join(wrong)
