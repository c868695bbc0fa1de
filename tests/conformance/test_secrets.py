"""Everything that people, programs and devices do, at LOG_LEVEL=DEBUG, and then a search for every secret of it.

Looked through: what the server wrote, every row of every table and SQLite's
files, what PostgreSQL wrote, every body, every cookie, every other header.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.conformance.ledger import (
    Kind,
    Ledger,
    seen_in_body,
    seen_in_cookies,
    seen_in_headers,
    seen_in_text,
)
from tests.conformance.rows import all_rows
from tests.conformance.story import Story
from tests.databases import close, make_app
from tests.flows.test_no_secret_in_logs import files_of
from tests.server import serving
from tests.world import World

pytestmark = pytest.mark.server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.database)], scope="module")
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A story that was told to a real server, once for each database: logged as text for one, as JSON for the other."""
    sqlite = request.param == "sqlite"
    databases = request.getfixturevalue("sqlite_databases" if sqlite else "postgres_databases")
    environment = {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": "text" if sqlite else "json"}
    log = tmp_path_factory.mktemp("secrets") / "log"
    with serving(databases.url(), log, workers=2, environment=environment) as server:
        app = make_app(server.database_url, PORT=server.port)
        ledger = Ledger(server)
        Story(ledger, World(app)).tell()
        close(app)
        yield ledger


def test_the_story_is_long_and_its_secrets_are_of_every_kind(ledger):
    kinds = Counter(secret.kind for secret in ledger.secrets.values())
    names = {secret.what for secret in ledger.secrets.values()}

    assert len(ledger.answers) > 150
    assert set(kinds) == set(Kind)
    assert len(ledger.secrets) > 120
    assert {
        "access_token", "refresh_token", "device_code", "code", "request_uri", "user_code", "state", "session",
        "password", "wrong password", "generated secret", "typed secret", "offered secret", "chosen secret",
        "changed secret", "token made on a page", "secret of an app", "client_assertion that was sent",
        "code_verifier that was sent", "Authorization header", "csrf_token", "form_id", "password in the wrong field",
    } <= names  # fmt: skip
    paths = {answer.request.path for answer in ledger.answers}
    assert {
        "/oauth2/token", "/oauth2/authorize", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/par",
        "/oauth2/device_authorization", "/oauth2/verify", "/login", "/logout", "/device", "/device/answer",
        "/account/apps", "/settings/app/api-clients", "/settings/app/api-clients/new",
    } <= paths  # fmt: skip
    assert {200, 201, 303, 400, 401, 403, 404, 409, 422, 429} <= {answer.status_code for answer in ledger.answers}
    assert not [answer for answer in ledger.answers if answer.status_code >= 500]


def test_no_secret_is_in_what_the_server_wrote(ledger):
    assert ledger.server.log.stat().st_size > 20_000
    assert seen_in_text(ledger, ledger.server.log.read_bytes()) == []


def test_no_secret_is_in_the_database(ledger):
    rows = all_rows(ledger.server.database_url)

    filled = {name for name, found in rows.items() if found}
    assert {
        "client", "app", "access_token", "authorization_code", "refresh_token", "token_family", "device_code",
        "used_assertion", "audit_event", "user_session", "consent", "failed_attempts",
    } <= filled  # fmt: skip
    assert seen_in_text(ledger, repr(rows).encode()) == []


def test_no_secret_is_in_the_files_of_the_database(ledger, request):
    written = [path.read_bytes() for path in files_of(ledger.server.database_url)]
    if not written:
        server = request.getfixturevalue("postgres_server")
        if server._folder is None:
            return  # somebody else's server, which tests do not look into
        written = [path.read_bytes() for path in server._folder.glob("log*")]
    assert written
    # The state of a pushed request has to wait in a row for the person, and a file forgets slowly.
    assert {what for data in written for what in seen_in_text(ledger, data)} <= {"state"}


@pytest.mark.parametrize("seen", [seen_in_body, seen_in_cookies, seen_in_headers])
def test_no_secret_is_in_an_answer_but_where_it_belongs(ledger, seen):
    leaks = {
        f"{number} {answer.request.method} {answer.request.path}: {leak}"
        for number, answer in enumerate(ledger.answers)
        for leak in seen(ledger, number, answer)
    }

    assert leaks == set()


def test_no_page_sends_its_address_to_anybody_else(ledger):
    pages = [answer for answer in ledger.answers if answer.mimetype == "text/html" and answer.status_code != 303]

    assert len(pages) > 60
    for page in pages:
        assert page.headers["Referrer-Policy"] in {"same-origin", "strict-origin", "no-referrer"}
        assert "no-store" in page.headers["Cache-Control"]
        if page.request.path == "/oauth2/authorize":
            # Its address may hold the app's secret, and its own stylesheet need not hear of that either.
            assert page.headers["Referrer-Policy"] == "strict-origin"


def test_no_redirect_repeats_the_form_it_answers(ledger):
    """After 307 or 308 a browser would send the password, or the secret, to the next address as well."""
    redirects = [answer for answer in ledger.answers if "Location" in answer.headers]

    assert len(redirects) > 20
    assert {answer.status_code for answer in redirects if answer.request.method == "POST"} == {303}
    assert {answer.status_code for answer in redirects} <= {302, 303}


#: Ways in which one could get out: the search, with a secret put where it looks.
PLANTS: dict[str, Callable[[Ledger, bytes], list[str]]] = {
    "log": lambda ledger, planted: seen_in_text(ledger, ledger.server.log.read_bytes()[-500:] + planted),
    "row": lambda ledger, planted: seen_in_text(ledger, repr({"planted": [{"note": planted.decode()}]}).encode()),
    "body": lambda ledger, planted: seen_in_body(ledger, *_spoilt(ledger, body=planted)),
    "cookie": lambda ledger, planted: seen_in_cookies(ledger, *_spoilt(ledger, "Set-Cookie", b"x=; y=" + planted)),
    "header": lambda ledger, planted: seen_in_headers(ledger, *_spoilt(ledger, "X-Debug", planted)),
    "address": lambda ledger, planted: seen_in_headers(ledger, *_spoilt(ledger, "Location", b"/?x=" + planted)),
}


def _spoilt(ledger: Ledger, header: str | None = None, value: bytes = b"", body: bytes | None = None):
    """The last page of the story with something in it."""
    last = next(answer for answer in reversed(ledger.answers) if answer.mimetype == "text/html")
    spoilt = copy.copy(last)
    spoilt.headers = last.headers.copy()
    if header:
        spoilt.headers.add(header, value.decode())
    if body is not None:
        spoilt.response = [last.data + body]
        spoilt.__dict__.pop("text", None)  # it was read before
    return len(ledger.answers), spoilt


@pytest.mark.parametrize("place", PLANTS)
def test_a_secret_that_is_planted_is_found(ledger, place):
    """One of each name, in every spelling; else the tests above would prove nothing."""
    own = {"cookie": {Kind.SESSION, Kind.FORM}, "body": {Kind.FORM}, "address": {Kind.STATE, Kind.HANDLE}}
    one_of_each = {
        secret.what: secret for secret in ledger.secrets.values() if secret.kind not in own.get(place, set())
    }
    assert len(one_of_each) > 15
    for secret in one_of_each.values():
        for spelt in secret.needles:
            assert secret.what in PLANTS[place](ledger, b" " + spelt + b" "), (secret.what, spelt)
