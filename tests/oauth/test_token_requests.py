"""What a token request must look like: RFC 6749 sections 3.2, 4.4 and 5, and appendix B."""

from __future__ import annotations

import gzip
import io
import json
import re

import pytest
from sqlalchemy import func, select

from app.extensions import db
from app.tokens.models import AccessToken
from tests.statements import statements, verbs
from tests.world import Browser, Machine, basic

#: RFC 6749 section 5.2: what error and error_description may consist of.
RFC_CHARACTERS = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]*")

GRANT = "grant_type=client_credentials"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def good(api_client):
    """A good body; what a test adds to it is what is wrong."""
    return f"{GRANT}&client_id={api_client.client_id}&client_secret={api_client.secret}"


def count_tokens(app) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(AccessToken))


def check_error(response, status, error):
    """An answer of RFC 6749 section 5.2 with all that every one of ours carries."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    assert response.headers.getlist("Content-Type") == ["application/json"]
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    assert re.fullmatch(r"[0-9A-Z]{4}-[0-9A-Z]{2}", response.headers["Request-Id"])
    assert "Set-Cookie" not in response.headers
    assert "Location" not in response.headers
    body = json.loads(response.data)
    assert set(body) - {"error_uri"} == {"error", "error_description"}
    assert body["error"] == error
    # Another spelling of an address may lie outside of the protocol's.
    explained = re.fullmatch(rf"https://(acme|globex)\.example/developers#{error}", body.get("error_uri", ""))
    assert explained or error == "not_found"
    assert body["error_description"]
    assert all(RFC_CHARACTERS.fullmatch(text) for text in body.values())


def test_a_good_answer_has_the_headers_of_the_rfc_and_nothing_to_keep(machine, good):
    response = machine.post_token(good)

    assert response.status_code == 200
    assert list(response.json) == ["access_token", "token_type", "expires_in"]
    assert response.headers.getlist("Content-Type") == ["application/json"]
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    assert not {"Set-Cookie", "ETag", "Last-Modified", "Vary"} & set(response.headers.keys())
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_warm_request_is_two_statements(app, machine, good):
    machine.post_token(good)

    with statements(app) as seen:
        machine.post_token(good)

    assert verbs(seen) == ["SELECT", "INSERT"]


def test_two_tokens_in_a_row_differ_and_both_work(machine, api_client):
    first, second = machine.token(api_client), machine.token(api_client)

    assert first != second
    assert machine.works(first)
    assert machine.works(second)


def test_unknown_parameters_are_ignored(machine, good):
    assert machine.post_token(good + "&response_type=code&a[b]=c&scope[]=x&__proto__=1").status_code == 200


def test_an_empty_parameter_counts_as_absent(machine, good):
    for name in ["scope", "redirect_uri", "code_verifier", "unknown"]:
        response = machine.post_token(f"{good}&{name}=")

        assert response.status_code == 200
        assert "scope" not in response.json


def test_a_repeated_parameter_is_refused(app, machine, api_client):
    for name in [
        "grant_type",
        "client_id",
        "client_secret",
        "scope",
        "code",
        "redirect_uri",
        "code_verifier",
        "refresh_token",
        "unknown",
    ]:
        for values in [("a", "a"), ("a", "b"), ("", "a")]:
            body = {"grant_type": "client_credentials", "client_id": api_client.client_id}
            body["client_secret"] = api_client.secret
            rest = "&".join(f"{key}={value}" for key, value in body.items() if key != name)

            response = machine.post_token(f"{rest}&{name}={values[0]}&{name}={values[1]}")

            check_error(response, 400, "invalid_request")
            assert count_tokens(app) == 0


def test_a_parameter_repeated_under_another_spelling_of_its_name_is_refused(machine, good):
    check_error(machine.post_token(good + "&scop%65=a&scope=a"), 400, "invalid_request")


def test_bytes_that_are_no_text_are_refused(app, machine, good):
    for addition in [
        b"&x=\xff",
        b"&\xc3\xa9=1",
        b"&x=%ff",
        b"&%ff=x",
        b"&x=%ed%a0%80",
        b"&x=%00",
        b"&x%00=1",
        b"&x=\x00",
        b"&x=\xf0\x9f\x98\x80",
    ]:
        response = machine.post_token(good.encode() + addition)

        check_error(response, 400, "invalid_request")
        assert count_tokens(app) == 0


def test_percent_encoded_text_in_an_unknown_parameter_is_fine(machine, good):
    assert machine.post_token(good + "&state=%C3%A9%F0%9F%98%80&x=%zz&y=%").status_code == 200


def test_too_many_parameters_are_refused(machine, good):
    assert machine.post_token(good + "".join(f"&p{i}=1" for i in range(97))).status_code == 200
    check_error(machine.post_token(good + "".join(f"&p{i}=1" for i in range(98))), 400, "invalid_request")


def test_a_body_that_is_too_large_is_refused(app, machine, good):
    for size in [65 * 1024, 1024 * 1024]:
        check_error(machine.post_token(good + "&x=" + "a" * size), 413, "invalid_request")
        assert count_tokens(app) == 0


def test_a_large_body_without_a_length_is_refused_too(machine, good):
    """Chunked: nobody says beforehand how much will come."""
    body = good.encode() + b"&x=" + b"a" * 1024 * 1024

    response = machine.open(
        "/oauth2/token",
        method="POST",
        input_stream=io.BytesIO(body),
        content_type=FORM,
        environ_overrides={"wsgi.input_terminated": True},
    )

    check_error(response, 413, "invalid_request")


def test_a_body_without_a_length_is_read(machine, good):
    response = machine.open(
        "/oauth2/token",
        method="POST",
        input_stream=io.BytesIO(good.encode()),
        content_type=FORM,
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert response.status_code == 200


def test_a_scope_of_tens_of_kilobytes_is_refused(machine, good):
    for words in [5_000, 30_000]:
        body = f"{good}&scope=" + "a+" * words

        assert machine.post_token(body).status_code == 400


def test_an_empty_body_is_refused(machine):
    check_error(machine.post_token(""), 400, "invalid_request")


def test_a_request_without_a_grant_type_is_refused(machine, good):
    check_error(machine.post_token(good.partition("&")[2]), 400, "invalid_request")
    check_error(machine.post_token(good.replace("client_credentials", "", 1)), 400, "invalid_request")


def test_an_unknown_grant_type_is_refused(app, machine, api_client):
    for grant_type in [
        "foo",
        "CLIENT_CREDENTIALS",
        "client_credentials%20",
        "implicit",
        "password",
        "%22%5C",
        "%0D%0A",
    ]:
        response = machine.post_token(
            f"grant_type={grant_type}&client_id={api_client.client_id}&client_secret={api_client.secret}"
            "&username=ana%40acme.example&password=x&refresh_token=x"
        )

        check_error(response, 400, "unsupported_grant_type")
        assert count_tokens(app) == 0


def test_an_api_client_cannot_redeem_codes(machine, api_client):
    response = machine.post_token(
        f"grant_type=authorization_code&code=x&client_id={api_client.client_id}&client_secret={api_client.secret}"
    )

    check_error(response, 400, "unauthorized_client")


def test_an_app_cannot_act_for_itself(app, world, tenant, machine):
    confidential, public = world.oauth_app(tenant), world.oauth_app(tenant, public=True)

    with_secret = machine.post_token(
        {
            "grant_type": "client_credentials",
            "client_id": confidential.client_id,
            "client_secret": confidential.secret,
        }
    )
    without = machine.post_token(f"{GRANT}&client_id={public.client_id}")

    check_error(with_secret, 400, "unauthorized_client")
    check_error(without, 400, "unauthorized_client")
    assert count_tokens(app) == 0


def test_a_body_that_says_it_is_no_form_is_refused(app, machine, good):
    for content_type in [
        "text/plain",
        "application/json",
        "application/vnd.api+json",
        "multipart/form-data; boundary=x",
        "invalid/@@##",
        "</><script>",
        "text",
        "text/[html]",
        "",
        " ",
        ";",
        "application/x-www-form-urlencoded-x",
        "application/x-www-form-urlencoded, text/plain",
    ]:
        check_error(machine.post_token(good, content_type=content_type), 400, "invalid_request")
        assert count_tokens(app) == 0


def test_a_request_without_a_content_type_is_refused(machine, good):
    response = machine.open("/oauth2/token", method="POST", input_stream=io.BytesIO(good.encode()))

    check_error(response, 400, "invalid_request")


def test_a_form_under_another_spelling_of_its_type_is_read(machine, good):
    for content_type in [f"{FORM}; charset=UTF-8", FORM.upper(), f"{FORM};charset=x", f" {FORM} "]:
        assert machine.post_token(good, content_type=content_type).status_code == 200


def test_a_json_body_is_refused_with_what_to_do(app, machine, api_client):
    credentials = {"client_id": api_client.client_id, "client_secret": api_client.secret}

    response = machine.open("/oauth2/token", method="POST", json={"grant_type": "client_credentials", **credentials})

    check_error(response, 400, "invalid_request")
    assert "JSON" in response.json["error_description"]
    assert FORM in response.json["error_description"]


def test_a_multipart_body_is_refused(app, machine, api_client):
    fields = {
        "grant_type": "client_credentials",
        "client_id": api_client.client_id,
        "client_secret": api_client.secret,
        "file": (io.BytesIO(b"x"), "x.txt"),
    }

    response = machine.open("/oauth2/token", method="POST", data=fields, content_type="multipart/form-data")

    check_error(response, 400, "invalid_request")
    assert count_tokens(app) == 0


def test_an_encoded_body_is_refused_and_not_inflated(machine, good):
    for encoding in ["gzip", "br", "deflate", "gzip, identity"]:
        body = gzip.compress(good.encode())

        check_error(machine.post_token(body, headers={"Content-Encoding": encoding}), 400, "invalid_request")


def test_a_body_that_says_it_is_not_encoded_is_read(machine, good):
    assert machine.post_token(good, headers={"Content-Encoding": "identity"}).status_code == 200


def test_parameters_in_the_address_are_refused(app, machine, good):
    check_error(machine.open(f"/oauth2/token?{good}", method="POST", content_type=FORM), 400, "invalid_request")
    assert count_tokens(app) == 0


def test_a_parameter_of_ours_in_the_address_of_a_good_request_is_refused(app, machine, good):
    for query in [
        "scope=admin",
        "client_secret=x",
        "grant_type=password",
        "scop%65=x",
        "x=1&x=2",
        "%ff=1",
        "code=x",
    ]:
        response = machine.open(f"/oauth2/token?{query}", method="POST", data=good, content_type=FORM)

        check_error(response, 400, "invalid_request")
        assert count_tokens(app) == 0


def test_an_unknown_parameter_in_the_address_is_ignored(machine, good):
    response = machine.open("/oauth2/token?utm_source=x", method="POST", data=good, content_type=FORM)

    assert response.status_code == 200


def test_other_methods_are_refused(app, machine, good):
    for method in ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "FOO"]:
        response = machine.open(f"/oauth2/token?{good}", method=method, data=good, content_type=FORM)

        assert response.status_code == 405
        assert response.headers["Allow"] == "POST"
        if method != "HEAD":
            check_error(response, 405, "method_not_allowed")
        assert count_tokens(app) == 0


def test_another_spelling_of_the_address_is_unknown(app, machine, good):
    """Never a redirect: it would send the credentials again, to a host that the request chose."""
    for path in [
        "/oauth2/nope",
        "/oauth2/token/",
        "//oauth2/token",
        "///oauth2//token",
        "/oauth2//token",
        "/oauth2/token;x=1",
        "/oauth2/token/..",
        "/oauth2/../oauth2/token",
        "/oauth2/./token",
        "/oauth2/TOKEN",
        "/oauth2/token%00",
        "/oauth2/token\n",
        "/oauth2/token ",
        "/oauth2/",
        "/oauth2/token/x",
        "/.well-known/oauth-authorization-server/foo",
        "/api/oauth2/token",
    ]:
        for method in ["POST", "GET"]:
            response = machine.open(
                "/", method=method, data=good, content_type=FORM, environ_overrides={"PATH_INFO": path}
            )

            check_error(response, 404, "not_found")
            assert count_tokens(app) == 0


def test_an_encoded_address_is_the_plain_one(machine):
    """WSGI decodes before anybody looks, so these are the same address under the same rules."""
    for path in ["/oauth2%2ftoken", "/oauth2/%74oken", "/%6fauth2/token"]:
        check_error(machine.open(path, method="POST", data=GRANT, content_type=FORM), 401, "invalid_client")


def test_nothing_that_was_sent_comes_back_in_an_error(machine, api_client):
    for name in ["grant_type", "client_id", "client_secret", "scope", "code", "unknown"]:
        hostile = "zq%22%5C%0D%0A%1B%C3%A9%F0%9F%98%80%3Cscript%3E{{7*7}}"
        sent = {
            "grant_type": "client_credentials",
            "client_id": api_client.client_id,
            "client_secret": "wrong",
        }
        sent[name] = hostile

        response = machine.post_token("&".join(f"{key}={value}" for key, value in sent.items()))

        assert response.status_code in {400, 401}
        check_error(response, response.status_code, response.json["error"])
        assert "zq" not in response.text
        assert "zq" not in str(response.headers)
        assert "49" not in response.text.replace(api_client.client_id, "")


def test_nothing_of_an_unknown_address_comes_back(machine):
    for path in ["/oauth2/zq%22%3Cb%3E", "/.well-known/zq%0D%0A", "/oauth2/token/zq%C3%A9", "/api/zq%1B"]:
        response = machine.open(path)

        check_error(response, 404, "not_found")
        assert "zq" not in response.text


class TestScope:
    @pytest.fixture
    def tenant(self, world):
        return world.tenant("acme", scope="a b")

    def test_known_scopes_are_granted_and_named(self, machine, api_client, good):
        for sent, granted in [
            ("a", "a"),
            ("a+b", "a b"),
            ("b+a", "b a"),
            ("a+a", "a"),
            ("++a++b+", "a b"),
            ("a%20b", "a b"),
        ]:
            response = machine.post_token(f"{good}&scope={sent}")

            assert response.status_code == 200
            assert list(response.json) == ["access_token", "token_type", "expires_in", "scope"]
            assert response.json["scope"] == granted
            assert machine.verify(response.json["access_token"]).json["scope"] == granted

    def test_a_scope_that_the_tenant_does_not_offer_is_refused_and_not_left_out(self, app, machine, good):
        for sent in [
            "c",
            "a+c",
            "a%2Bb",
            "a,b",
            "A",
            "a%09b",
            "a%0Ab",
            "a%C2%A0b",
            "a%E2%80%83b",
            "a%1Cb",
            "%22",
            "a%0D%0Ab",
        ]:
            check_error(machine.post_token(f"{good}&scope={sent}"), 400, "invalid_scope")
            assert count_tokens(app) == 0

    def test_no_scope_means_everything_and_is_not_named(self, machine, good):
        for sent in ["", "&scope=", "&scope=++"]:
            response = machine.post_token(good + sent)

            assert response.status_code == 200
            assert "scope" not in response.json
            assert "scope" not in machine.verify(response.json["access_token"]).json

    def test_the_scope_is_looked_at_after_the_secret(self, machine, api_client):
        response = machine.post_token(f"{GRANT}&client_id={api_client.client_id}&client_secret=wrong&scope=c")

        check_error(response, 401, "invalid_client")


def test_a_tenant_without_scopes_offers_none(machine, good):
    for sent in ["read", "%20x"]:
        check_error(machine.post_token(f"{good}&scope={sent}"), 400, "invalid_scope")


def test_each_tenant_has_scopes_and_lifetimes_of_its_own(app, world):
    acme = world.tenant("acme", scope="read", token_lifetime="600")
    globex = world.tenant("globex", scope="write")
    clients = {tenant: world.client(tenant, "same-id") for tenant in (acme, globex)}
    machines = {tenant: Machine(app, tenant) for tenant in (acme, globex)}

    for _ in range(3):
        answers = {tenant: machines[tenant].request_token(clients[tenant]) for tenant in (acme, globex)}
        assert [answers[acme].json["expires_in"], answers[globex].json["expires_in"]] == [600, 31536000]
        assert machines[acme].request_token(clients[acme], scope="read").status_code == 200
        check_error(machines[acme].request_token(clients[acme], scope="write"), 400, "invalid_scope")
        check_error(machines[globex].request_token(clients[globex], scope="read"), 400, "invalid_scope")


def test_a_browsers_session_neither_helps_nor_is_touched(app, tenant, admin, api_client, good):
    browser = Browser(app, tenant)
    browser.sign_in(admin)

    def post(body):
        return browser.client.post("/oauth2/token", base_url=tenant.url, data=body, content_type=FORM)

    with_secret, without = post(good), post(GRANT)

    assert with_secret.status_code == 200
    assert "Set-Cookie" not in with_secret.headers
    check_error(without, 401, "invalid_client")
    assert browser.get("/account/apps").status_code == 200


def test_another_origin_gets_no_permission_to_read(machine, good):
    origin = {"Origin": "https://evil.example"}

    answer = machine.post_token(good, headers=origin)
    preflight = machine.open(
        "/oauth2/token", method="OPTIONS", headers={**origin, "Access-Control-Request-Method": "POST"}
    )

    for response in (answer, preflight):
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


def test_plain_http_from_outside_is_refused_and_not_redirected(app, machine, good):
    response = machine.open(
        "/oauth2/token",
        method="POST",
        data=good,
        content_type=FORM,
        environ_overrides={"wsgi.url_scheme": "http"},
    )

    check_error(response, 400, "invalid_request")
    assert count_tokens(app) == 0


def test_a_client_may_use_basic_for_everything(machine, api_client):
    response = machine.post_token(f"{GRANT}&scope=", headers=basic(api_client.client_id, api_client.secret))

    assert response.status_code == 200
