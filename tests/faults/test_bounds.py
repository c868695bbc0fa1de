"""What is large costs what it weighs: four times the input takes about four times the work, never sixteen times.

Measured in processor time of this process, with a margin of two, so that
neither other processes nor a slow machine make a difference.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.databases import SqliteDatabases, close, make_app
from tests.world import Browser, Machine, World, authorize_address, basic

FORM = "application/x-www-form-urlencoded"
IN_PARTS = "multipart/form-data; boundary=b"
#: Characters; the second is what a machine request may have at most, with some room for the rest of it.
SMALL, LARGE = 15_000, 60_000
#: Seconds of processor time that no request may take, whatever is in it.
MOST = 0.5
#: Seconds that may always come in between.
NOISE = 0.01

Send = Callable[[SimpleNamespace, int], TestResponse]


@pytest.fixture(scope="module")
def there(sqlite_databases: SqliteDatabases) -> Iterator[SimpleNamespace]:
    """A tenant, and who calls it."""
    app = make_app(sqlite_databases.url())
    world = World(app)
    tenant = world.tenant()
    client = world.client(tenant)
    oauth_app = world.oauth_app(tenant, refresh_tokens=True, device_grant=True)
    person, stranger = Browser(app, tenant), Browser(app, tenant)
    person.sign_in(world.user(tenant))
    yield SimpleNamespace(
        machine=Machine(app, tenant), client=client, app=oauth_app, person=person, stranger=stranger, url=tenant.url
    )
    close(app)


def as_client(more: Callable[[int], str], path: str = "/oauth2/token") -> Send:
    def send(there: SimpleNamespace, size: int) -> TestResponse:
        own = f"grant_type=client_credentials&client_id={there.client.client_id}&client_secret={there.client.secret}"
        return there.machine.open(path, method="POST", data=f"{own}{more(size)}", content_type=FORM)

    return send


def as_app(more: Callable[[int], str], path: str = "/oauth2/token") -> Send:
    def send(there: SimpleNamespace, size: int) -> TestResponse:
        own = f"client_id={there.app.client_id}&client_secret={there.app.secret}"
        return there.machine.open(path, method="POST", data=f"{own}{more(size)}", content_type=FORM)

    return send


def as_nobody(body: Callable[[int], str]) -> Send:
    return lambda there, size: there.machine.open("/oauth2/token", method="POST", data=body(size), content_type=FORM)


def with_header(name: str, value: Callable[[int], str], path: str = "/oauth2/verify", **options: Any) -> Send:
    return lambda there, size: there.machine.open(path, headers={name: value(size)}, **options)


def opened(more: Callable[[int], str], who: str = "person", **parameters: str | None) -> Send:
    """An authorization request."""
    return lambda there, size: getattr(there, who).get(authorize_address(there.app, **parameters) + more(size))


def signing_in(**fields: Callable[[int], str]) -> Send:
    def send(there: SimpleNamespace, size: int) -> TestResponse:
        there.stranger.get("/login")
        body = {"email": "bo@acme.example", "password": "x"} | {name: value(size) for name, value in fields.items()}
        return there.stranger.post("/login", body)

    return send


TOKEN_REQUESTS: dict[str, Send] = {
    "DO-01 scope of 20,000 words": as_client(lambda size: "&scope=" + "+".join("ab"[i % 2] for i in range(size // 3))),
    "DO-01 scope of other words": as_client(lambda size: "&scope=" + "+".join(f"{i:05}" for i in range(size // 6))),
    "DO-01 scope of one word": as_client(lambda size: "&scope=" + "a" * size),
    "DO-01 scope, encoded": as_client(lambda size: "&scope=" + "%20a" * (size // 4)),
    "DO-01 scope of nobody": as_nobody(
        lambda size: "grant_type=client_credentials&client_id=x&client_secret=x&scope=" + "a+" * (size // 2)
    ),
    "90 resources": as_client(lambda size: f"&resource=https://acme.example/{'x' * (size // 100)}" * 90),
    "many resources in one": as_client(lambda size: "&resource=" + "https://a.b/+" * (size // 13)),
    "90 parameters": as_client(lambda size: "".join(f"&p{i}={'x' * (size // 100)}" for i in range(90))),
    "too many parameters": as_client(lambda size: "&a" * (size // 2)),
    "no parameters": as_client(lambda size: "&" * size),
    "a parameter's name": as_client(lambda size: f"&{'n' * size}=1"),
    "percents": as_client(lambda size: "&x=" + "%" * size),
    "grant_type": as_nobody(lambda size: "grant_type=" + "g" * size),
    "client_id": as_nobody(lambda size: "grant_type=client_credentials&client_secret=x&client_id=" + "c" * size),
    "code": as_app(lambda size: "&grant_type=authorization_code&code=kpc" + "0" * size),
    "code_verifier": as_app(lambda size: "&grant_type=authorization_code&code=kpc&code_verifier=" + "0" * size),
    "refresh_token": as_app(lambda size: "&grant_type=refresh_token&refresh_token=kpr" + "0" * size),
    "token to revoke": as_app(lambda size: "&token=" + "kpa" * (size // 3), "/oauth2/revoke"),
    "token to introspect": as_app(lambda size: "&token=" + "kpa" * (size // 3), "/oauth2/introspect"),
    "token_type_hint": as_app(lambda size: "&token=x&token_type_hint=" + "kpa" * (size // 3), "/oauth2/introspect"),
    "pushed redirect_uri": as_app(
        lambda size: "&response_type=code&redirect_uri=https://" + "a:" * (size // 2), "/oauth2/par"
    ),
    "pushed state": as_app(lambda size: "&response_type=code&state=" + "%C3%A9" * (size // 6), "/oauth2/par"),
    "scope of a device": as_app(lambda size: "&scope=" + "a+" * (size // 2), "/oauth2/device_authorization"),
}

HEADERS: dict[str, Send] = {
    "MI-15 Basic": with_header("Authorization", lambda size: "Basic " + "YTph" * (size // 4)),
    "MI-15 Basic without anything": with_header("Authorization", lambda size: "Basic" + " " * size + "x"),
    "MI-15 Bearer": with_header("Authorization", lambda size: "Bearer " + "kpa0" * (size // 4)),
    "MI-15 Bearers": with_header("Authorization", lambda size: "Bearer " * (size // 7)),
    "Content-Type": lambda there, size: there.machine.open(
        "/oauth2/token", method="POST", data="", content_type=FORM + ' ;"' * (size // 3)
    ),
    "Accept": with_header("Accept", lambda size: "a/b;q=0.1," * (size // 10), "/oauth2/nope"),
    "Accept-Language": with_header("Accept-Language", lambda size: "en;q=0.1," * (size // 9), "/login"),
    "Cookie": with_header("Cookie", lambda size: "a=b; " * (size // 5), "/login"),
    "Cookie with quotes": with_header("Cookie", lambda size: 'a="' + '\\"' * (size // 2), "/login"),
    "Cookie of a session": with_header("Cookie", lambda size: "__Host-keyporter=." + "A" * size, "/login"),
    "Host": with_header("Host", lambda size: "a." * (size // 2), "/login"),
    "X-Forwarded-For": with_header("X-Forwarded-For", lambda size: "1.1.1.1, " * (size // 9), "/login"),
    "Range": with_header("Range", lambda size: "bytes=" + "0-1," * (size // 4), "/static/keyporter.css"),
    "If-None-Match": with_header("If-None-Match", lambda size: '"a", ' * (size // 5), "/static/keyporter.css"),
}

ADDRESSES: dict[str, Send] = {
    "RU-27 redirect_uri": opened(lambda size: "&redirect_uri=https://" + "x" * size, redirect_uri=None),
    "RU-27 redirect_uri of colons": opened(
        lambda size: "&redirect_uri=https://" + "a:" * (size // 2), redirect_uri=None
    ),
    "RU-27 redirect_uri of ports": opened(
        lambda size: "&redirect_uri=http://127.0.0.1:" + "1" * size, redirect_uri=None
    ),
    "RU-27 redirect_uri of brackets": opened(
        lambda size: "&redirect_uri=https://" + "[@" * (size // 2), redirect_uri=None
    ),
    "state": opened(lambda size: "&state=" + "%C3%A9" * (size // 6)),
    "DO-01 scope": opened(lambda size: "&scope=" + "a+" * (size // 2)),
    "prompt": opened(lambda size: "&prompt=" + "login+" * (size // 6)),
    "max_age": opened(lambda size: "&max_age=" + "9" * size),
    "login_hint": opened(lambda size: "&login_hint=" + "a@" * (size // 2), "stranger"),
    "code_challenge": opened(lambda size: "&code_challenge_method=S256&code_challenge=" + "a" * size),
    "request_uri": opened(lambda size: "&request_uri=urn:ietf:params:oauth:request_uri:" + "a" * size),
    "client_secret": opened(lambda size: "&client_secret=" + "a" * size, "stranger"),
    "resources": opened(lambda size: f"&resource=https://acme.example/{'x' * (size // 100)}" * 80),
    "client_id": opened(lambda size: "&client_id=" + "c" * size, client_id=None),
    "next": lambda there, size: there.stranger.get("/login?next=" + "%2fa" * (size // 4)),
    "path": lambda there, size: there.machine.open("/" + "a/" * (size // 2)),
    "path with quotes": lambda there, size: there.machine.open("/oauth2/" + "code=%27" * (size // 8)),
    "path of digits": lambda there, size: there.person.get("/settings/app/api-clients/" + "1" * size),
    "user_code": lambda there, size: there.person.get("/device?user_code=" + "A-" * (size // 2)),
}

FORMS: dict[str, Send] = {
    "e-mail": signing_in(email=lambda size: "a@" * (size // 2)),
    "e-mail with dots": signing_in(email=lambda size: "a@" + "a." * (size // 2)),
    "password": signing_in(password=lambda size: "x" * size),
    "csrf_token": signing_in(csrf_token=lambda size: "a." * (size // 2)),
    "MI-04 parts": lambda there, size: there.machine.open(
        "/login", method="POST", data=b"--b\r\n" + b"a: b\r\n" * (size // 6), content_type=IN_PARTS
    ),
    "MI-04 boundaries": lambda there, size: there.machine.open(
        "/login", method="POST", data=b"\r\n--" * (size // 4), content_type=IN_PARTS
    ),
}


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def processor_time(send: Send, there: SimpleNamespace, size: int) -> float:
    """The least of three, in seconds."""
    times = []
    for _ in range(3):
        before = time.process_time()
        answer = send(there, size)
        times.append(time.process_time() - before)
        assert answer.status_code < 500, answer.text
        answer.close()
    return min(times)


@pytest.mark.parametrize(
    "send",
    [
        pytest.param(send, id=name)
        for cases in (TOKEN_REQUESTS, HEADERS, ADDRESSES, FORMS)
        for name, send in cases.items()
    ],
)
def test_four_times_the_input_takes_no_more_than_its_share(there, send):
    send(there, 100).close()  # what is compiled and loaded at the first time is no matter of size

    small, large = processor_time(send, there, SMALL), processor_time(send, there, LARGE)

    assert large < 8 * small + NOISE
    assert large < MOST


@pytest.mark.parametrize(
    "name", ["DO-01 scope of 20,000 words", "DO-01 scope of other words", "DO-01 scope of one word"]
)
def test_a_scope_beyond_measure_is_refused(there, name):
    assert TOKEN_REQUESTS[name](there, LARGE).status_code == 400


@pytest.mark.parametrize("name", [name for name in ADDRESSES if name.startswith("RU-27")])
def test_a_redirect_uri_beyond_measure_is_refused_on_a_page(there, name):
    answer = ADDRESSES[name](there, LARGE)

    assert (answer.status_code, answer.mimetype) == (400, "text/html")


def test_the_hundredth_parameter_is_read_and_the_next_is_refused(there):
    def ask(more: int) -> int:
        return as_client(lambda _: "".join(f"&p{i}=x" for i in range(more)))(there, 0).status_code

    assert (ask(97), ask(98)) == (200, 400)


@pytest.mark.parametrize(
    "path",
    [
        "/oauth2/token",
        "/oauth2/revoke",
        "/oauth2/leaked",
        "/oauth2/introspect",
        "/oauth2/par",
        "/oauth2/device_authorization",
    ],
)
def test_a_body_of_more_than_64_kb_is_not_read(there, path):
    credentials = basic(there.app.client_id, there.app.secret)

    answer = there.machine.open(path, method="POST", data="a=" + "b" * 65_536, content_type=FORM, headers=credentials)

    assert answer.status_code == 413
