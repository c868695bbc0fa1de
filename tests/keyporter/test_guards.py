"""One table of calls, for all guards: Flask, WSGI, ASGI and FastAPI answer alike, byte for byte (RFC 6750)."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from keyporter import Call, Issuer
from tests.keyporter.services import FRAMEWORKS, HOST, JSON, MAKERS, Answer, Lookup

NOW = 1_800_000_000
FAR = NOW + 400 * 86_400

BAD = "The token is expired, revoked, or not known."
TWICE = "Send the token once, in the Authorization header."
SEND = {"message": "Send your token: Authorization: Bearer <token>"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SEEN = {"client": "powerbi"}

NAMELESS = Issuer("test")
ACME = Issuer("acme", "https://acme.example", "https://acme.example/developers#no-token")
METADATA = f"https://{HOST}/.well-known/oauth-protected-resource"


@dataclass(frozen=True)
class Case:
    """A call, and the whole answer."""

    name: str
    status: int
    body: dict[str, Any]
    #: Behind "Bearer "; "": there is no challenge.
    challenge: str = ""
    scopes: tuple[str, ...] = ()
    needs: dict[str, Any] = field(default_factory=dict)
    #: What the token is, beside good; {token} stands for it.
    token: dict[str, Any] = field(default_factory=dict)
    authorization: str | None = "Bearer {token}"
    method: str = "GET"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content: str = ""
    issuer: Issuer = NAMELESS
    down: bool = False
    #: Headers that the answer has beside those that all have.
    more: dict[str, str] = field(default_factory=dict)
    frameworks: tuple[str, ...] = FRAMEWORKS


def bad(name: str, **values: Any) -> Case:
    body = {"error": "invalid_token", "error_description": BAD}
    return Case(name, 401, body, f'realm="test", error="invalid_token", error_description="{BAD}"', **values)


def twice(name: str, **values: Any) -> Case:
    body = {"error": "invalid_request", "error_description": TWICE}
    return Case(name, 400, body, f'realm="test", error="invalid_request", error_description="{TWICE}"', **values)


def missing(name: str, **values: Any) -> Case:
    return Case(name, 401, SEND, 'realm="test"', **values)


def lacks(name: str, description: str, scope: str | None, **values: Any) -> Case:
    body = {"error": "insufficient_scope", "error_description": description} | ({"scope": scope} if scope else {})
    members = ['realm="test"', *(f'{key}="{value}"' for key, value in body.items())]
    return Case(name, 403, body, ", ".join(members), **values)


def let_in(name: str, body: Any = SEEN, **values: Any) -> Case:
    return Case(name, 200, body, **values)


BOTH = ("a", "b")
EITHER = {"any_of": ["b", "c"]}

CASES = [
    let_in("good"),
    let_in("any case of the scheme", authorization="bEARER   {token} "),
    let_in("post", method="POST", content="{}", headers={"Content-Type": JSON}),
    let_in("form without a token", method="POST", content="x=1", headers=FORM),
    let_in("token in a cookie too", headers={"Cookie": "access_token={token}"}),
    let_in("query with a name like it", query="access_tokens=x&x=access_token"),
    missing("nothing sent", authorization=None),
    missing("empty header", authorization=""),
    missing("basic", authorization="Basic dG9rZW46"),
    missing("no scheme", authorization="{token}"),
    missing("scheme that begins like it", authorization="Bearer{token}"),
    missing("token in the query alone", authorization=None, query="access_token={token}"),
    missing("token in a form alone", authorization=None, method="POST", content="access_token={token}", headers=FORM),
    missing("token in a cookie alone", authorization=None, headers={"Cookie": "access_token={token}"}),
    bad("scheme alone", authorization="Bearer"),
    bad("noise", authorization="Bearer x"),
    bad("longer by one", authorization="Bearer {token}0"),
    bad("two in one header", authorization="Bearer {token},Bearer {token}"),
    bad("two behind the scheme", authorization="Bearer {token} {token}"),
    bad("not ASCII", authorization="Bearer \u00e9\u00ff"),
    bad("long", authorization="Bearer " + "a" * 5_000),
    bad("expired", token={"expires_at": NOW}),
    bad("optional all the same", authorization="Bearer x", needs={"optional": True}),
    twice("in the query too", query="access_token={token}"),
    twice("in the query too, empty", query="x=1&access_token="),
    twice("in the query too, spelled otherwise", query="access%5Ftoken=x"),
    twice("in the query too, and bad", authorization="Bearer x", query="access_token=x"),
    twice("in a form too", method="POST", content="access_token=x", headers=FORM, frameworks=("flask",)),
    # A middleware may not read what the application has to read.
    let_in("in a form too", method="POST", content="access_token=x", headers=FORM, frameworks=FRAMEWORKS[1:]),
    let_in("both scopes", scopes=BOTH, token={"scope": "b c a"}),
    let_in("no scope is every scope", scopes=BOTH),
    lacks("one of two", "This needs a b. Your token has a.", "a b", scopes=BOTH, token={"scope": "a"}),
    lacks("other case", "This needs a b. Your token has A B.", "a b", scopes=BOTH, token={"scope": "A B"}),
    lacks("limited to nothing", "This needs a b.", "a b", scopes=BOTH, token={"limited": True}),
    lacks("unsayable", "This needs a.", "a", scopes=("a",), token={"scope": 'b"\r\nX: y'}),
    let_in("either", needs=EITHER, token={"scope": "c"}),
    lacks("neither", "This needs b or c. Your token has a.", "b", needs=EITHER, token={"scope": "a"}),
    let_in("a, and either", scopes=("a",), needs=EITHER, token={"scope": "c a"}),
    lacks(
        "either without a", "This needs a b or a c. Your token has c.", "a b", scopes=("a",), needs=EITHER,
        token={"scope": "c"},
    ),
    let_in("optional, nothing sent", {"client": None}, authorization=None, needs={"optional": True}),
    let_in("optional, basic sent", {"client": None}, authorization="Basic x", needs={"optional": True}),
    let_in("optional, sent", needs={"optional": True}),
    lacks(
        "optional, too little", "This needs a. Your token has b.", "a", scopes=("a",), needs={"optional": True},
        token={"scope": "b"},
    ),
    let_in("person", needs={"user": True}, token={"user_id": "7"}),
    lacks("no person", "This needs a token that acts for a person.", None, needs={"user": True}),
    lacks("no person, scope", "This needs a token that acts for a person.", "a", scopes=("a",), needs={"user": True}),
    Case("down", 503, {"message": "The sign-in service did not answer. Try again."}, down=True,
         more={"retry-after": "5"}),
    Case("down, nothing sent", 401, SEND, 'realm="test"', authorization=None, down=True),
    let_in("ends in 30 days", token={"expires_at": NOW + 30 * 86_400},
           more={"token-expires-at": "2027-02-14T08:00:00Z"}),
    let_in("ends a second later", token={"expires_at": NOW + 30 * 86_400 + 1}),
    let_in("does not say when it ends", token={"expires_at": 0}),
    lacks(
        "ends soon, refused", "This needs a. Your token has b.", "a", scopes=("a",),
        token={"scope": "b", "expires_at": NOW + 60},
    ),
    Case("realm to be quoted", 401, SEND, r'realm="Ac\"me\\ X: y "', authorization=None,
         issuer=Issuer('Ac"me\\ \r\nX: y \u00e9')),
    Case("issuer with an address", 401, SEND | {"docs": ACME.docs},
         f'realm="acme", resource_metadata="{METADATA}"', authorization=None, issuer=ACME),
    Case("bad token, issuer with an address", 401, {"error": "invalid_token", "error_description": BAD},
         f'realm="acme", error="invalid_token", error_description="{BAD}", resource_metadata="{METADATA}"',
         authorization="Bearer x", issuer=ACME),
]  # fmt: skip

TABLE = [
    pytest.param(framework, case, id=f"{framework}-{case.name}") for case in CASES for framework in case.frameworks
]


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: float(NOW))


def send(framework: str, case: Case, path: str = "/report", method: str | None = None) -> tuple[Answer, Lookup]:
    lookup = Lookup(case.issuer)
    values: dict[str, Any] = {"client_id": "powerbi", "expires_at": FAR} | case.token
    token = lookup.issue(**values)
    lookup.down = case.down
    call = MAKERS[framework](lookup, case.scopes, case.needs)
    headers = {name: value.replace("{token}", token) for name, value in case.headers.items()}
    if case.authorization is not None:
        headers["Authorization"] = case.authorization.replace("{token}", token)
    query, content = case.query.replace("{token}", token), case.content.replace("{token}", token)
    return call(method or case.method, path, query, headers, content.encode()), lookup


@pytest.mark.parametrize("framework, case", TABLE)
def test_every_guard_gives_the_same_answer(framework, case):
    answer, _ = send(framework, case)

    body = json.dumps(case.body).encode()
    expected = {"content-type": JSON, "content-length": str(len(body)), **case.more}
    expected["cache-control"] = "private" if case.status == 200 else "no-store"
    if case.challenge:
        expected["www-authenticate"] = f"Bearer {case.challenge}"
    assert answer == Answer(case.status, expected, body)


def test_every_guard_has_every_case():
    """A case that is some guard's own has its counterpart for the others."""
    for framework in FRAMEWORKS:
        names = {case.name for case in CASES if framework in case.frameworks}
        assert names == {case.name for case in CASES}, framework


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_lookup_is_told_where_the_call_was_sent(framework):
    _, lookup = send(framework, CASES[0])

    ((_, call),) = lookup.asked
    assert call == Call(HOST, "https", "/report")


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", ["nothing sent", "basic", "in the query too"])
def test_nobody_is_asked_about_what_is_no_token(framework, name):
    (case,) = (case for case in CASES if case.name == name)

    assert send(framework, case)[1].asked == []


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_refusal_of_head_has_the_headers_and_no_body(framework):
    case = missing("head", authorization=None)

    with_body, _ = send(framework, case, "/fails/200")
    without, _ = send(framework, case, "/fails/200", method="HEAD")

    if framework == "fastapi":
        # It has no HEAD beside a GET.
        assert without.status == 405
        return
    assert with_body.body
    assert without == Answer(with_body.status, with_body.headers, b"")


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("how", ["", "how=raised"])
@pytest.mark.parametrize("status", [404, 500])
def test_errors_of_the_service_are_kept_from_caches_and_say_nothing_of_the_end(framework, status, how):
    case = Case("fails", status, {}, token={"expires_at": NOW + 60}, query=how)

    answer, _ = send(framework, case, f"/fails/{status}")

    assert answer.status == status
    assert answer.headers["cache-control"] == "private"
    assert "token-expires-at" not in answer.headers


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_token_of_one_call_is_not_there_in_the_next(framework):
    lookup = Lookup()
    call = MAKERS[framework](lookup, (), {"optional": True})
    headers = {"Authorization": f"Bearer {lookup.issue(client_id='x', expires_at=FAR)}"}

    assert call("GET", "/report", "", headers, b"").json == {"client": "x"}
    assert call("GET", "/report", "", {}, b"").json == {"client": None}
    # Not looked up, not seen: nobody has said that it is good.
    assert call("GET", "/open", "", headers, b"").json == {"client": None}
    assert "cache-control" not in call("GET", "/open", "", headers, b"").headers


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_metadata_say_whose_tokens_are_taken(framework):
    """RFC 9728 section 3: where challenges point, and without a token."""
    case = Case("metadata", 200, {}, authorization=None, issuer=ACME, scopes=("a",))

    answer, lookup = send(framework, case, "/.well-known/oauth-protected-resource")

    assert (answer.status, answer.headers["content-type"]) == (200, JSON)
    assert answer.json == {
        "resource": f"https://{HOST}",
        "authorization_servers": ["https://acme.example"],
        "bearer_methods_supported": ["header"],
        "resource_documentation": ACME.docs,
    }
    assert lookup.asked == []
    head, _ = send(framework, case, "/.well-known/oauth-protected-resource", method="HEAD")
    assert (head.status, head.headers["content-length"]) == (200, answer.headers["content-length"])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_there_are_no_metadata_of_an_issuer_without_an_address(framework):
    case = Case("metadata", 404, {}, authorization=None)

    answer, _ = send(framework, case, "/.well-known/oauth-protected-resource")

    assert (answer.status, answer.json) == (404, {"error": "not_found"})
