"""The sample app: what it sends, and which answers it believes."""

from __future__ import annotations

import hashlib
import html
import re
from base64 import urlsafe_b64encode
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from app.demo.field_notes import Organisation, Settings, create_app
from tests.deployment.processes import free_port

ADDRESS = "http://127.0.0.1:8000"
ACME = "http://acme.localhost:8000"
SECRET = "kps00aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"


@pytest.fixture
def settings():
    return Settings(
        client_id="app_field_notes",
        client_secret=SECRET,
        cookie_key="a key for the cookie",
        address=ADDRESS,
        port=free_port(),  # nobody is there
        organisations={"acme": Organisation("Acme Inc", ACME)},
        stylesheet=Path(__file__).parents[2] / "app" / "static" / "keyporter.css",
    )


@pytest.fixture
def visitor(settings):
    return create_app(settings).test_client()


@pytest.fixture
def asked(visitor):
    """The parameters of a request that is under way."""
    page = visitor.get("/ask/acme", base_url=ADDRESS).text
    address = html.unescape(found(r'href="(http://acme[^"]+)"', page))
    assert address.startswith(f"{ACME}/oauth2/authorize?")
    return {name: value for name, [value] in parse_qs(urlsplit(address).query, strict_parsing=True).items()}


def found(pattern, text):
    match = re.search(pattern, text)
    assert match, text
    return match[1]


def answer(visitor, **parameters):
    return visitor.get("/callback", base_url=ADDRESS, query_string=parameters)


def code_page(visitor, asked):
    return answer(visitor, code="the-code", state=asked["state"], iss=ACME)


def csrf_token(page):
    return found(r'name="csrf_token" value="([^"]+)"', page.text)


def test_the_request_has_state_and_pkce_and_no_secret(visitor, asked):
    with visitor.session_transaction(base_url=ADDRESS) as cookie:
        challenge = urlsafe_b64encode(hashlib.sha256(cookie["verifier"].encode()).digest()).rstrip(b"=")

    assert asked == {
        "response_type": "code",
        "client_id": "app_field_notes",
        "redirect_uri": f"{ADDRESS}/callback",
        "state": asked["state"],
        "code_challenge": challenge.decode(),
        "code_challenge_method": "S256",
    }


def test_every_request_has_a_state_of_its_own(visitor, asked):
    again = html.unescape(visitor.get("/ask/acme", base_url=ADDRESS).text)

    assert asked["state"] not in again
    assert asked["code_challenge"] not in again


def test_the_code_page_shows_the_next_request_without_the_secret(visitor, asked):
    page = code_page(visitor, asked)

    assert page.status_code == 200
    assert "the-code" in page.text
    assert SECRET[:9] in page.text
    assert SECRET not in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"


def test_an_answer_that_nobody_asked_for_is_not_believed(visitor):
    response = answer(visitor, code="the-code", state="", iss=ACME)

    assert response.status_code == 400
    assert "the-code" not in response.text


@pytest.mark.parametrize("state", ["", "another", "é"])
def test_an_answer_to_another_request_is_not_believed(visitor, asked, state):
    response = answer(visitor, code="the-code", state=state, iss=ACME)

    assert response.status_code == 400
    assert "state is not the one we sent" in response.text


@pytest.mark.parametrize("issuer", [None, "", "http://globex.localhost:8000", f"{ACME}/"])
def test_an_answer_from_another_organisation_is_not_believed(visitor, asked, issuer):
    parameters = {} if issuer is None else {"iss": issuer}

    response = answer(visitor, code="the-code", state=asked["state"], **parameters)

    assert response.status_code == 400
    assert "does not say that it comes from Acme Inc" in response.text


def test_a_person_who_says_no_reads_what_that_means(visitor, asked):
    response = answer(visitor, error="access_denied", state=asked["state"], iss=ACME)

    assert response.status_code == 200
    assert "You chose Cancel at Acme Inc" in response.text


def test_an_error_is_shown_as_text(visitor, asked):
    response = answer(visitor, error="server_error", error_description="<b>down</b>", state=asked["state"], iss=ACME)

    assert "Acme Inc says: &lt;b&gt;down&lt;/b&gt;" in response.text


def test_the_exchange_needs_the_page_before_it(visitor, asked):
    code_page(visitor, asked)

    assert visitor.post("/exchange", base_url=ADDRESS).status_code == 400
    assert visitor.post("/exchange", base_url=ADDRESS, data={"csrf_token": "guessed"}).status_code == 400


def test_a_server_that_does_not_answer_is_said_and_the_code_counts_as_spent(visitor, asked):
    form = {"csrf_token": csrf_token(code_page(visitor, asked))}

    first = visitor.post("/exchange", base_url=ADDRESS, data=form)
    second = visitor.post("/exchange", base_url=ADDRESS, data=form)

    assert first.status_code == 502
    assert "did not answer" in first.text
    assert second.status_code == 400
    assert "The code is spent" in second.text


@pytest.mark.parametrize("path", ["/token", "/reports"])
def test_without_a_token_there_is_nothing_to_show(visitor, asked, path):
    response = visitor.get(path, base_url=ADDRESS)

    assert response.status_code == 400
    assert "There is no token yet" in response.text


@pytest.mark.parametrize("path", ["/ask/initech", "/nowhere"])
def test_an_unknown_page_is_a_page(visitor, path):
    response = visitor.get(path, base_url=ADDRESS)

    assert response.status_code == 404
    assert "There is nothing here" in response.text


def test_a_visitor_by_name_is_led_to_the_address_that_the_answer_comes_to(visitor):
    response = visitor.get("/ask/acme", base_url="http://localhost:8000")

    assert response.headers["Location"] == f"{ADDRESS}/ask/acme"


def test_pages_load_nothing_from_elsewhere(visitor):
    response = visitor.get("/", base_url=ADDRESS)

    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    for address in re.findall(r'<link rel="stylesheet" href="([^"]+)"', response.text):
        with visitor.get(address, base_url=ADDRESS) as sheet:
            assert sheet.mimetype == "text/css"
