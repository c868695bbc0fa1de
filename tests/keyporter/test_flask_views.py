"""The decorator on every kind of view that Flask has, and metadata: RFC 9728."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from flask import Blueprint, Flask, Response, abort, stream_with_context
from flask.views import MethodView, View

from keyporter import Issuer, current_token
from keyporter.protector import RequireOAuth, is_protected
from keyporter.testing import FakeTokens
from tests.keyporter.services import Lookup

METADATA = "/.well-known/oauth-protected-resource"


@pytest.fixture
def tokens():
    return FakeTokens()


@pytest.fixture
def require(tokens):
    require = RequireOAuth()
    require.use(tokens)
    return require


@pytest.fixture
def app():
    return Flask("service")


def call(app, path, token=None, method="GET", **options):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return app.test_client().open(path, method=method, headers=headers, **options)


def test_a_class_of_methods_is_protected_as_a_whole(app, require, tokens):
    class Reports(MethodView):
        decorators = [require("a")]  # noqa: RUF012 - as Flask's documentation writes it

        def get(self) -> str:
            return current_token.client_id

        async def post(self) -> str:
            await asyncio.sleep(0)
            return f"posted by {current_token.client_id}"

    app.add_url_rule("/reports", view_func=Reports.as_view("reports"))
    token = tokens.issue("a", client_id="x")

    assert is_protected(app.view_functions["reports"])
    assert [call(app, "/reports", token, method).text for method in ("GET", "POST")] == ["x", "posted by x"]
    assert {call(app, "/reports", method=method).status_code for method in ("GET", "POST", "HEAD")} == {401}
    assert call(app, "/reports", tokens.issue("b")).status_code == 403


def test_a_plain_class_and_one_method_of_a_class_are_protected(app, require, tokens):
    class Report(View):
        decorators = [require()]  # noqa: RUF012

        def dispatch_request(self, number: int) -> str:  # type: ignore[override]
            return f"{number} {current_token.client_id}"

    class Mixed(MethodView):
        def get(self) -> str:
            return "open"

        @require()
        def post(self) -> str:
            return current_token.client_id

    app.add_url_rule("/report/<int:number>", view_func=Report.as_view("report"))
    app.add_url_rule("/mixed", view_func=Mixed.as_view("mixed"))
    token = tokens.issue(client_id="x")

    assert call(app, "/report/7", token).text == "7 x"
    assert call(app, "/report/7").status_code == 401
    assert call(app, "/mixed").text == "open"
    assert call(app, "/mixed", token, "POST").text == "x"
    assert call(app, "/mixed", method="POST").status_code == 401


def test_a_coroutine_is_a_view(app, require, tokens):
    @app.get("/later")
    @require("a")
    async def later() -> tuple[dict[str, str], int]:
        await asyncio.sleep(0)
        return {"client": current_token.client_id}, 202

    answer = call(app, "/later", tokens.issue("a", client_id="x"))

    assert (answer.status_code, answer.json) == (202, {"client": "x"})
    assert answer.headers["Cache-Control"] == "private"
    assert call(app, "/later").status_code == 401


def test_a_stream_goes_on_with_its_token(app, require, tokens):
    @app.get("/stream")
    @require()
    def stream() -> Response:
        def lines() -> Iterator[str]:
            yield "first "
            yield current_token.client_id

        return Response(stream_with_context(lines()))

    assert call(app, "/stream", tokens.issue(client_id="x")).text == "first x"


def test_what_a_view_raises_reaches_the_applications_handlers(app, require, tokens):
    @app.errorhandler(ZeroDivisionError)
    def handle(error: Exception) -> tuple[str, int]:
        return "handled", 418

    @app.get("/boom")
    @require()
    def boom() -> str:
        raise ZeroDivisionError

    @app.get("/gone")
    @require()
    def gone() -> str:
        abort(404)

    token = tokens.issue()
    assert [call(app, path, token).status_code for path in ("/boom", "/gone")] == [418, 404]
    # Whether there is something is what the token opened.
    assert {call(app, path, token).headers["Cache-Control"] for path in ("/boom", "/gone")} == {"private"}


def test_blueprints_within_blueprints_are_protected(app, require, tokens):
    inner, outer = Blueprint("inner", __name__), Blueprint("outer", __name__, url_prefix="/api")

    @inner.get("/report")
    @require()
    def report() -> str:
        return current_token.client_id

    outer.register_blueprint(inner, url_prefix="/v1")
    app.register_blueprint(outer)

    assert call(app, "/api/v1/report", tokens.issue(client_id="x")).text == "x"
    assert call(app, "/api/v1/report").status_code == 401


@pytest.mark.parametrize("of", ["app", "blueprint"])
def test_metadata_are_where_every_challenge_points(app, of):
    """RFC 9728 section 5.1: also those of a blueprint with a prefix."""
    require = RequireOAuth()
    require.use(Lookup(Issuer("acme", "https://acme.example", "https://acme.example/docs")))
    api = Blueprint("api", __name__, url_prefix="/api")

    @api.get("/report")
    @require("a")
    def report() -> str:
        return "report"

    require.init_app(app if of == "app" else api, scopes=["a"])
    app.register_blueprint(api)

    for token, status in [(None, 401), ("x", 401)]:
        refused = call(app, "/api/report", token, base_url="https://api.acme.example:8443")
        assert refused.status_code == status
        address = refused.headers["WWW-Authenticate"].rpartition('resource_metadata="')[2].rstrip('"')
        assert address == f"https://api.acme.example:8443{METADATA}"
        answer = app.test_client().get(address)
        assert answer.json == {
            "resource": "https://api.acme.example:8443",
            "authorization_servers": ["https://acme.example"],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["a"],
            "resource_documentation": "https://acme.example/docs",
        }


def test_fake_tokens_have_no_address_and_no_metadata(app, require):
    require.init_app(app)

    @app.get("/report")
    @require()
    def report() -> str:
        return "report"

    assert call(app, "/report").headers["WWW-Authenticate"] == 'Bearer realm="test"'
    assert call(app, METADATA).status_code == 404


def test_the_current_token_cannot_be_changed(app, require, tokens):
    @app.get("/report")
    @require()
    def report() -> str:
        for name in ("scope", "tenant", "anything"):
            with pytest.raises((AttributeError, TypeError)):
                setattr(current_token, name, "admin")
        return repr(current_token)

    assert "scope='a'" in call(app, "/report", tokens.issue("a")).text
