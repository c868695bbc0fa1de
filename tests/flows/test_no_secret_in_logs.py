"""Everything people and programs do, at LOG_LEVEL=DEBUG, and then a search for every secret that was used.

Looked through: what the server wrote, every row of the database and SQLite's
files, every cookie and every Location.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import pytest
from sqlalchemy import MetaData, create_engine
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Response

from tests.databases import close, make_app
from tests.server import GunicornServer, serving
from tests.world import (
    AppHandle,
    Browser,
    ClientHandle,
    Machine,
    TenantHandle,
    UserHandle,
    World,
    answer_of,
    authorize_address,
    basic,
    pkce_pair,
)

pytestmark = pytest.mark.server

WRONG = "not-the-Secret_but.close~to-it"
TYPED = "our-own-Secret_2026.for~BI"
WRONG_PASSWORD = "incorrect horse battery"


class RecordingClient(Client):
    """Keeps every answer."""

    def __init__(self, seen: list[TestResponse], server: GunicornServer, use_cookies: bool) -> None:
        super().__init__(server.wsgi, Response, use_cookies=use_cookies)
        self._seen = seen

    def open(self, *arguments: Any, **options: Any) -> TestResponse:
        response = super().open(*arguments, **options)
        self._seen.append(response)
        return response


@dataclass
class Story:
    """A server that was used, what it answered, and every secret that went in or out."""

    server: GunicornServer
    site: TenantHandle
    secrets: dict[str, str] = field(default_factory=dict)
    answers: list[TestResponse] = field(default_factory=list)

    def test_client(self, use_cookies: bool = True) -> Client:
        return RecordingClient(self.answers, self.server, use_cookies)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.database)], scope="module")
def story(request, tmp_path_factory) -> Iterator[Story]:
    """Told once per engine: as text on one, as JSON on the other; what is logged does not depend on the engine."""
    sqlite = request.param == "sqlite"
    databases = request.getfixturevalue("sqlite_databases" if sqlite else "postgres_databases")
    environment = {"LOG_FORMAT": "text" if sqlite else "json"}
    log = tmp_path_factory.mktemp("story") / "log"
    with serving(databases.url(), log, workers=2, environment=environment) as server:
        app = make_app(server.database_url, PORT=server.port)
        world = World(app)
        story = Story(server, world.site(server.port))
        programs_ask_for_tokens(story, world)
        a_person_lets_an_app_in(story, world)
        an_admin_makes_a_client_and_a_token(story, world)
        close(app)
        yield story


def programs_ask_for_tokens(story: Story, world: World) -> None:
    machine = Machine(story, story.site)
    generated = world.client(story.site, "generated")
    typed = world.client(story.site, "typed", secret=TYPED)
    story.secrets |= {"generated secret": generated.secret, "typed secret": TYPED, "wrong secret": WRONG}
    story.secrets["token by body"] = machine.token(generated)
    with_basic = machine.post_token("grant_type=client_credentials", headers=basic("typed", TYPED))
    story.secrets["token by Basic"] = with_basic.json["access_token"]
    header = basic("typed", WRONG)
    story.secrets["Basic header"] = header["Authorization"].removeprefix("Basic ")
    statuses = [
        machine.post_token("grant_type=client_credentials", headers=header).status_code,
        machine.request_token(generated, client_secret=WRONG).status_code,
        machine.request_token(ClientHandle(story.site, 0, "nobody", WRONG)).status_code,
        machine.request_token(typed, code_verifier=WRONG).status_code,
        # In the address, where it must not be, and which is refused.
        machine.open(f"/oauth2/token?client_secret={TYPED}", method="POST").status_code,
        machine.open(f"/oauth2/verify?access_token={with_basic.json['access_token']}").status_code,
        machine.open("/nowhere/at/all", headers=header).status_code,
        *(machine.verify(story.secrets[f"token by {how}"]).status_code for how in ("body", "Basic")),
        machine.verify(WRONG).status_code,
    ]
    assert statuses == [401, 401, 401, 200, 400, 401, 404, 200, 200, 401]


def a_person_lets_an_app_in(story: Story, world: World) -> None:
    app, user = world.oauth_app(story.site), world.user(story.site)
    verifier, challenge = pkce_pair()
    story.secrets |= {
        "password": user.password,
        "wrong password": WRONG_PASSWORD,
        "app secret": str(app.secret),
        "PKCE verifier": verifier,
        "state": "state-that-is-the-apps-own-secret",
    }
    browser, machine = Browser(story, story.site), Machine(story, story.site)
    for number, more in enumerate([{}, {"code_challenge": challenge, "code_challenge_method": "S256"}]):
        code = walk(browser, app, user, story.secrets["state"], **more)
        proof = {"code_verifier": verifier} if more else {}
        token = machine.redeem(app, code, **proof).json["access_token"]
        story.secrets |= {f"code {number}": code, f"token by code {number}": token}
        assert machine.works(token)
        assert machine.redeem(app, code, **proof).status_code == 400
    assert browser.post("/logout").status_code in {303, 400}


def walk(browser: Browser, app: AppHandle, user: UserHandle, state: str, **more: str) -> str:
    """The seed's address, secret and all; through sign-in with a typing mistake, and consent, where they come up."""
    address = authorize_address(app, client_secret=app.secret, state=state, **more)
    response = browser.get(address)
    if "/login?" in response.headers.get("Location", ""):
        sign_in = response.headers["Location"]
        browser.get(sign_in)
        browser.post(sign_in, {"email": user.email, "password": WRONG_PASSWORD})
        response = browser.post(sign_in, {"email": user.email, "password": user.password})
        # Back at the address as it was first sent, as from a bookmark.
        response = browser.allow(address)
    return answer_of(response)["code"]


def an_admin_makes_a_client_and_a_token(story: Story, world: World) -> None:
    browser = Browser(story, story.site)
    browser.sign_in(world.admin(story.site))
    form = browser.get("/settings/app/api-clients/new").text
    secret, client_id = value_of(form, "secret"), value_of(form, "client_id")
    shown = browser.post(
        "/settings/app/api-clients/new",
        {"name": "Report", "client_id": client_id, "secret": secret, "form_id": value_of(form, "form_id")},
    )
    assert shown.status_code == 200, shown.text
    assert secret in shown.text
    [generate] = set(re.findall(r'"(/settings/app/api-clients/\d+/tokens/new)"', shown.text))
    form = browser.get(generate).text
    lasts = re.findall(r'name="lasts"[^>]*value="([^"]+)"', form)[0]
    page = browser.post(generate, {"name": "Finance", "lasts": lasts, "form_id": value_of(form, "form_id")})
    [token] = set(re.findall(r"kpa[0-9A-Za-z]{37}", page.text))
    story.secrets |= {"secret made on a page": secret, "token made on a page": token}
    assert Machine(story, story.site).works(token)
    browser.get("/settings/app/api-clients")


def value_of(page: str, name: str) -> str:
    found = re.search(rf'<input[^>]*name="{name}"[^>]*value="([^"]+)"', page)
    assert found, name
    return found[1]


def found_in(haystack: bytes, secrets: dict[str, str]) -> list[str]:
    """Which of ``secrets`` stand in ``haystack``, plainly or in an encoding that anybody can undo."""
    return [what for what, value in secrets.items() if any(form in haystack for form in encodings_of(value.encode()))]


def encodings_of(value: bytes) -> set[bytes]:
    text = value.decode()
    in_base64 = base64.b64encode(value).rstrip(b"=")[:-1]
    return {value, quote(text).encode(), quote_plus(text).encode(), value.hex().encode(), in_base64}


def test_the_search_finds_what_is_there():
    hidden = {"password": "correct horse battery"}

    for spelt in (b"correct horse battery", b"p=correct+horse+battery", b"correct%20horse%20battery"):
        assert found_in(b"before " + spelt + b" behind", hidden) == ["password"]
    assert found_in(base64.b64encode(b"correct horse battery"), hidden) == ["password"]
    assert found_in(b"correct battery", hidden) == []


def test_no_secret_is_in_what_the_server_wrote(story):
    assert len(story.secrets) > 15
    assert found_in(story.server.log.read_bytes(), story.secrets) == []


def test_no_secret_is_in_the_database(story):
    engine = create_engine(story.server.database_url)
    tables = MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        rows = {name: connection.execute(table.select()).all() for name, table in tables.tables.items()}
    engine.dispose()

    assert {"client", "access_token", "authorization_code", "audit_event", "user_session"} <= {
        name for name, found in rows.items() if found
    }
    assert found_in(repr(rows).encode(), story.secrets) == []
    for path in files_of(story.server.database_url):
        assert found_in(path.read_bytes(), story.secrets) == []


def files_of(database_url: str) -> list[Path]:
    if not database_url.startswith("sqlite:///"):
        return []
    path = Path(database_url.removeprefix("sqlite:///"))
    return [found for found in path.parent.glob(f"{path.name}*") if found.is_file()]


def test_no_secret_is_in_a_cookie(story):
    cookies = [cookie for answer in story.answers for cookie in answer.headers.getlist("Set-Cookie")]

    assert len(cookies) > 3
    for cookie in cookies:
        payload = cookie.partition("=")[2].partition(";")[0]
        assert found_in(cookie.encode() + b" " + opened(payload), story.secrets) == []


def opened(payload: str) -> bytes:
    """What Flask's signed cookie holds: signed, not encrypted."""
    compressed = payload.startswith(".")
    text = payload.lstrip(".").partition(".")[0]
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return zlib.decompress(data) if compressed else data


def test_no_secret_is_in_a_redirect_but_the_code_and_state_that_go_to_the_app(story):
    addresses = [answer.headers["Location"] for answer in story.answers if "Location" in answer.headers]
    to_the_app = [address for address in addresses if urlsplit(address).hostname == "fieldapp.example"]

    assert len(to_the_app) == 2
    for number, address in enumerate(to_the_app):
        assert found_in(address.encode(), story.secrets) == ["state", f"code {number}"]
    for address in set(addresses) - set(to_the_app):
        # The state is on its way through sign-in, in our own address.
        assert set(found_in(address.encode(), story.secrets)) <= {"state"}


def test_every_request_has_one_line_that_names_it(story):
    lines = story.server.text().splitlines()
    if story.server.environment["LOG_FORMAT"] == "json":
        requests = [entry for entry in map(json.loads, lines) if entry["logger"] == "keyporter.request"]
    else:
        requests = [dict(re.findall(r" (\w+)=(\S+)", line)) for line in lines if " keyporter.request: request " in line]
    ids = [entry["request_id"] for entry in requests]

    assert len(story.answers) > 30
    for answer in story.answers:
        assert ids.count(answer.headers["Request-Id"]) == 1
        [entry] = [entry for entry in requests if entry["request_id"] == answer.headers["Request-Id"]]
        assert entry["tenant"] == story.site.slug
        assert int(entry["status"]) == answer.status_code
        assert entry["path"] == answer.request.path
    named = {entry.get("client_id") for entry in requests if entry["path"] == "/oauth2/token"}
    # Of an ID that is no client's only the start is kept: it may be a secret in the wrong field.
    assert {"generated", "typed", "nobo..."} <= named


def test_what_is_said_about_a_request_names_it_too(story):
    """A line like "token refused: secret_mismatch" is of use only beside the request's own line."""
    lines = [line for line in story.server.text().splitlines() if "token refused: " in line]
    ids = {answer.headers["Request-Id"] for answer in story.answers}

    assert len(lines) > 5
    for line in lines:
        assert any(request_id in line for request_id in ids), line
        assert story.site.slug in line
