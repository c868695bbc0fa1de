"""The decorator, on a Flask application that knows nothing of the server: RFC 6750."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from flask import Flask, g, jsonify

import keyporter
from keyporter import LookupUnavailable, current_token, guard
from keyporter.protector import RequireOAuth, is_protected
from keyporter.testing import FakeTokens

FORM = "application/x-www-form-urlencoded"


class Lookup(FakeTokens):
    """Counts what it is asked; can be switched off."""

    def __init__(self, realm="test"):
        super().__init__(realm)
        self.asked = []
        self.down = False

    def find(self, token, call=None):
        self.asked.append(token)
        if self.down:
            raise LookupUnavailable
        return super().find(token, call)


@pytest.fixture
def tokens():
    return Lookup()


@pytest.fixture
def require(tokens):
    require = RequireOAuth()
    require.use(tokens)
    return require


@pytest.fixture
def app(require):
    app = Flask(__name__)

    @app.route("/any", methods=["GET", "POST"])
    @require()
    def anything():
        return {"client": current_token.client_id, "scope": current_token.scope}

    @app.get("/both")
    @require("a", "b")
    def both():
        return "both"

    @app.get("/either")
    @require("a", any_of=["b", "c"])
    def either():
        return "either"

    @app.get("/one-of")
    @require(any_of=["b", "c"])
    def one_of():
        return "one of"

    @app.get("/optional")
    @require("a", optional=True)
    def optional():
        return {"client": current_token.client_id if current_token else None}

    @app.get("/person")
    @require(user=True)
    def person():
        return {"user": current_token.user_id}

    @app.get("/own-cache")
    @require()
    def own_cache():
        response = jsonify(ok=True)
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.get("/refuses/<int:status>")
    @require()
    def refuses(status):
        return "no", status

    @app.get("/open")
    def unprotected():
        return {"token": g.get("keyporter_token") is not None}

    return app


@pytest.fixture
def call(app):
    def call(path, token=None, authorization=None, **options):
        headers = options.pop("headers", {})
        if token is not None:
            authorization = f"Bearer {token}"
        if authorization is not None:
            headers["Authorization"] = authorization
        client = app.test_client()
        for name, value in options.pop("cookies", {}).items():
            client.set_cookie(name, value)
        return client.open(path, headers=headers, **options)

    return call


def check_bad(response):
    """The one answer for every token that is not good."""
    message = "The token is expired, revoked, or not known."
    assert response.status_code == 401
    assert response.json == {"error": "invalid_token", "error_description": message}
    assert response.headers["WWW-Authenticate"] == (
        f'Bearer realm="test", error="invalid_token", error_description="{message}"'
    )
    assert response.headers["Cache-Control"] == "no-store"


def check_missing(response):
    """RFC 6750 section 3.1: no error code if nothing was sent."""
    assert response.status_code == 401
    assert set(response.json) == {"message"}
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="test"'
    assert response.headers["Cache-Control"] == "no-store"


def test_a_good_token_opens_the_route(call, tokens):
    response = call("/any", tokens.issue("a", client_id="powerbi"))

    assert response.status_code == 200
    assert response.json == {"client": "powerbi", "scope": "a"}
    assert response.headers["Cache-Control"] == "private"


def test_a_view_that_says_how_to_cache_is_left_alone(call, tokens):
    assert call("/own-cache", tokens.issue()).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/any", "/optional", "/own-cache", "/refuses/204", "/refuses/303"])
def test_a_token_that_ends_within_30_days_is_said_to(call, tokens, monkeypatch, path):
    ends = 1_800_000_000
    token = tokens.issue(expires_at=ends)

    for now, said in [(ends - 30 * 86_400 - 1, None), (ends - 30 * 86_400, "2027-01-15T08:00:00Z"), (ends - 1, "2027")]:
        monkeypatch.setattr(time, "time", lambda now=now: float(now))
        header = call(path, token).headers.get("Token-Expires-At")
        assert header is None if said is None else header.startswith(said), now


def test_nothing_is_said_of_the_end_in_errors_and_without_a_token(call, tokens):
    token = tokens.issue("b")
    answers = [call("/both", token), call("/person", token), call("/any?access_token=x", token), call("/optional")]
    answers += [call(f"/refuses/{status}", token) for status in (400, 404, 500)]
    tokens.down = True
    answers.append(call("/any", token))

    assert [answer.status_code for answer in answers] == [403, 403, 400, 200, 400, 404, 500, 503]
    assert not any("Token-Expires-At" in answer.headers for answer in answers)


def test_the_scheme_is_read_in_any_case_and_with_any_spaces(call, tokens):
    token = tokens.issue()

    for authorization in [f"bearer {token}", f"BEARER {token}", f"Bearer   {token}", f" Bearer {token} "]:
        assert call("/any", authorization=authorization).status_code == 200, authorization


def test_a_call_without_a_token_is_told_what_to_send(call, tokens):
    for authorization in [
        None,
        "",
        "Basic dG9rZW46",
        "Token x",
        tokens.issue(),
        f"Bearer{tokens.issue()}",
        "Digest x=1",
    ]:
        check_missing(call("/any", authorization=authorization))
    assert tokens.asked == []


def test_every_bad_token_gets_one_answer(call, tokens):
    good, revoked = tokens.issue(), tokens.issue()
    tokens.revoke(revoked)
    expired = tokens.issue(expires_at=1)
    from_elsewhere = FakeTokens()
    unknown = [from_elsewhere.issue() for _ in range(5)][-1]
    bad = [
        revoked,
        expired,
        unknown,
        good[:-1],
        good + "0",
        good[:20] + " " + good[20:],
        good.upper(),
        "x",
        "",
        "é" * 40,
    ]
    bad += [
        "\0".join(good),
        "a" * 8000,
        good.replace("kpa", "kpr"),
        f"{good},{good}",
        f"{good} {good}",
        f'"{good}"',
    ]

    for token in bad:
        if "\0" in token:
            continue
        check_bad(call("/any", token))
    check_bad(call("/any", authorization="Bearer"))


def test_a_token_anywhere_but_in_the_header_is_none(call, tokens):
    token = tokens.issue()

    check_missing(call(f"/any?access_token={token}"))
    check_missing(call("/any", cookies={"access_token": token, "token": token}))
    check_missing(call("/any", method="POST", data=f"access_token={token}", content_type=FORM))
    check_missing(call("/any", headers={"X-Access-Token": token}))


def test_a_token_that_is_sent_twice_is_refused(call, tokens):
    token = tokens.issue()

    for response in [
        call(f"/any?access_token={token}", token),
        call("/any?access_token=", token),
        call("/any", token, method="POST", data=f"access_token={token}", content_type=FORM),
    ]:
        assert response.status_code == 400
        assert response.json["error"] == "invalid_request"
        assert response.headers["WWW-Authenticate"] == (
            'Bearer realm="test", error="invalid_request", '
            'error_description="Send the token once, in the Authorization header."'
        )


def test_a_form_without_a_token_is_the_views_business(call, tokens):
    assert call("/any", tokens.issue(), method="POST", data={"x": "1"}).status_code == 200
    assert call("/any", tokens.issue(), method="POST", json={"access_token": "x"}).status_code == 200


def test_all_scopes_that_are_named_are_needed(call, tokens):
    for scope, status in [
        ("a b", 200),
        ("b c a", 200),
        ("", 200),
        ("a", 403),
        ("ab", 403),
        ("A B", 403),
        ("c", 403),
    ]:
        assert call("/both", tokens.issue(scope)).status_code == status, scope


def test_one_of_several_scopes_is_enough(call, tokens):
    for scope, either, one_of in [
        ("a b", 200, 200),
        ("a c", 200, 200),
        ("", 200, 200),
        ("b", 403, 200),
        ("a", 403, 403),
    ]:
        assert call("/either", tokens.issue(scope)).status_code == either, scope
        assert call("/one-of", tokens.issue(scope)).status_code == one_of, scope


def test_a_token_with_too_little_scope_is_told_what_is_needed(call, tokens):
    response = call("/both", tokens.issue("a"))

    assert response.status_code == 403
    assert response.json == {
        "error": "insufficient_scope",
        "error_description": "This needs a b. Your token has a.",
        "scope": "a b",
    }
    assert response.headers["WWW-Authenticate"] == (
        'Bearer realm="test", error="insufficient_scope", '
        'error_description="This needs a b. Your token has a.", scope="a b"'
    )
    assert call("/either", tokens.issue("a")).json["error_description"] == "This needs a b or a c. Your token has a."


def test_optional_lets_strangers_in_but_no_bad_token(call, tokens):
    assert call("/optional").json == {"client": None}
    assert call("/optional", tokens.issue("a", client_id="x")).json == {"client": "x"}
    assert call("/optional", tokens.issue("b")).status_code == 403
    check_bad(call("/optional", "x"))


def test_a_route_for_people_refuses_a_token_without_one(call, tokens):
    refused = call("/person", tokens.issue())

    assert refused.status_code == 403
    assert refused.json == {
        "error": "insufficient_scope",
        "error_description": "This needs a token that acts for a person.",
    }
    assert call("/person", tokens.issue(user_id="7")).json == {"user": "7"}


def test_whoever_wants_to_know_is_told_of_good_tokens_that_do_not_suffice(app, call, tokens, require):
    told = []
    require.use(tokens, on_shortfall=lambda token, scope: told.append((token.client_id, scope)))
    weak = tokens.issue("a", client_id="x")

    for path in ("/both", "/either", "/optional", "/person", "/any"):
        call(path, weak)
    call("/both", "x" * 40)
    call("/both")

    assert told == [("x", "a b"), ("x", "a b or a c"), ("x", None)]
    require.use(tokens)
    assert call("/both", weak).status_code == 403
    assert len(told) == 3


def test_a_lookup_that_does_not_answer_is_503_and_never_401(call, tokens):
    token = tokens.issue()
    tokens.down = True

    response = call("/any", token)

    assert response.status_code == 503
    assert response.headers["Retry-After"] == str(guard.RETRY_AFTER)
    assert response.headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in response.headers
    check_missing(call("/any"))


def test_the_realm_and_every_text_are_quoted_as_http_wants_it(call, tokens):
    tokens._realm = 'Ac"me\\ \r\nX: y é'

    header = call("/any").headers["WWW-Authenticate"]

    assert header == r'Bearer realm="Ac\"me\\ X: y "'


def test_no_token_is_left_for_the_next_call(call, tokens):
    call("/any", tokens.issue())

    assert call("/open").json == {"token": False}
    assert call("/optional").json == {"client": None}


def test_calls_at_the_same_time_never_see_each_others_token(app, tokens):
    """Both views are entered before either reads its token."""
    barrier = threading.Barrier(2, timeout=20)
    require = RequireOAuth()
    require.use(tokens)

    @app.get("/meet")
    @require()
    def meet():
        barrier.wait()
        first = current_token.client_id
        barrier.wait()
        return {"client": [first, current_token.client_id]}

    seen: dict[str, set[tuple[str, ...]]] = {}

    def run(name, token):
        for _ in range(50):
            response = app.test_client().get("/meet", headers={"Authorization": f"Bearer {token}"})
            seen.setdefault(name, set()).add(tuple(response.json["client"]))

    threads = [threading.Thread(target=run, args=(name, tokens.issue(client_id=name))) for name in ("x", "y")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == {"x": {("x", "x")}, "y": {("y", "y")}}


def test_an_error_handler_of_the_application_changes_no_refusal(app, call):
    app.register_error_handler(Exception, lambda error: ("mine", 500))

    check_missing(call("/any"))
    check_bad(call("/any", "x"))


def test_the_decorator_without_brackets_is_a_mistake_that_is_named():
    with pytest.raises(TypeError, match="brackets"):
        RequireOAuth()(lambda: "view")  # type: ignore[arg-type]


def test_a_decorator_that_does_not_know_where_to_ask_says_so(tokens):
    with pytest.raises(RuntimeError, match="use"):
        _ = RequireOAuth().lookup


def test_views_keep_their_names_and_say_that_they_are_protected(app):
    views = app.view_functions

    assert views["anything"].__name__ == "anything"
    assert is_protected(views["anything"])
    assert not is_protected(views["optional"])
    assert not is_protected(views["unprotected"])


def test_outside_of_a_call_the_current_token_is_false(app):
    with app.app_context():
        assert not current_token


def test_a_token_knows_what_it_may_do(tokens):
    token = tokens.find(tokens.issue("a b"))
    person = tokens.find(tokens.issue(user_id="7", user_role="admin"))

    assert token.is_client
    assert not person.is_client
    assert (person.subject, token.subject) == ("user:7", "client:test-client")
    assert token.has_scope("b a")
    assert not token.has_scope("c")
    assert person.has_scope("anything at all")
    with pytest.raises(AttributeError):
        token.scope = "admin"


def test_the_package_imports_nothing_of_the_server():
    """Services that use it have a package called app of their own, and no SQLAlchemy."""
    script = (
        "import sys, keyporter, keyporter.testing\n"
        "bad = {'app', 'config', 'sqlalchemy', 'flask_sqlalchemy', 'argon2'}\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in bad))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_what_the_package_promises_is_there():
    assert all(hasattr(keyporter, name) for name in keyporter.__all__)
