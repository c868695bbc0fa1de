"""What reaches the server before any parameter does: request line, Host, framing, proxy headers, transport."""

from __future__ import annotations

import json
import re

import pytest

from tests.world import Machine

pytestmark = pytest.mark.server


@pytest.fixture
def host(site):
    return f"{site.host}:{site.port}"


@pytest.fixture
def form(served_world, site):
    """A token request that is good: what a test spoils is then the only thing wrong."""
    client = served_world.client(site)
    return (f"grant_type=client_credentials&client_id={client.client_id}&client_secret={client.secret}").encode()


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    head = "\r\n".join([f"{line} HTTP/1.1", *headers])
    return head.encode("latin-1") + b"\r\n\r\n" + body


def token_request(body: bytes, *headers: str, line: str = "POST /oauth2/token") -> bytes:
    own = ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    return request(line, *headers, *own, body=body)


def test_the_request_that_the_others_spoil_is_good(server, host, form):
    assert server.send(token_request(form, f"Host: {host}")).status == 200


def test_two_hosts_are_refused(server, host, form):
    assert server.send(token_request(form, f"Host: {host}", "Host: globex.localhost")).status == 400


def test_no_host_is_nobodys_host(server, form):
    answer = server.send(token_request(form))

    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json["error"] == "not_found"


def test_an_address_in_the_request_line_does_not_choose_the_tenant(server, served_world, site, host, form):
    other = served_world.site(server.port)
    line = f"POST http://{host}/oauth2/token"

    assert server.send(token_request(form, f"Host: {other.host}", line=line)).status in {400, 401}
    assert server.send(token_request(form, "Host: nobody.localhost", line=line)).status in {400, 404}


def test_two_lengths_are_refused(server, host, form):
    answer = server.send(token_request(form, f"Host: {host}", "Transfer-Encoding: chunked"))

    assert answer.status == 400


def test_a_chunked_body_is_read_whole(server, host, form):
    middle = len(form) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (form[:middle], form[middle:], b""))
    headers = [
        f"Host: {host}",
        "Content-Type: application/x-www-form-urlencoded",
        "Transfer-Encoding: chunked",
    ]

    answer = server.send(request("POST /oauth2/token", *headers, body=chunks))

    assert answer.status == 200, answer.body


def test_a_request_line_of_five_thousand_bytes_is_read(server, host):
    answer = server.send(request(f"GET /oauth2/authorize?state={'x' * 5000}", f"Host: {host}"))

    assert answer.status == 400
    assert b"The app did not say which one it is." in answer.body


def test_a_request_line_of_nine_thousand_bytes_is_refused(server, host):
    answer = server.send(request(f"GET /oauth2/authorize?state={'x' * 9000}", f"Host: {host}"))

    assert answer.status in {414, 431}


def test_the_token_address_opened_in_a_browser_says_what_to_use(server, host):
    answer = server.send(request("GET /oauth2/token", f"Host: {host}", "Accept: text/html"))

    assert answer.status == 405
    assert "POST" in answer.headers["Allow"]
    assert answer.json["error_description"] == "Use POST."


def test_a_forwarded_host_from_nobodys_proxy_is_ignored(server, served_world, site, host, form):
    other = served_world.site(server.port)
    forwarded = [f"X-Forwarded-Host: {other.host}", f"Forwarded: host={other.host}"]

    assert server.send(token_request(form, f"Host: {host}", *forwarded)).status == 200
    assert server.send(token_request(form, f"Host: {other.host}", f"X-Forwarded-Host: {host}")).status == 401


def test_a_forwarded_address_from_nobodys_proxy_is_not_in_the_log(server, host):
    answer = server.send(request("GET /login", f"Host: {host}", "X-Forwarded-For: 203.0.113.77"))

    [line] = [line for line in server.text().splitlines() if answer.headers["Request-Id"] in line]
    assert " ip=127.0.0.1 " in line


def test_a_script_name_does_not_move_the_server(server, host):
    moved = ["SCRIPT_NAME: /login", "Script-Name: /login", "X-Script-Name: /login", "X-Forwarded-Prefix: /x"]

    answer = server.send(request("GET /login", f"Host: {host}", *moved))

    assert answer.status == 200
    assert b'href="/static/' in answer.body


def test_the_server_does_not_tell_its_version(server, host):
    answer = server.send(request("GET /login", f"Host: {host}"))

    assert re.fullmatch(r"[A-Za-z]+", answer.headers["Server"])


@pytest.fixture
def outside(served_world, server):
    """A tenant whose name leads off this machine: it must not be served over plain http."""
    slug = f"outside-{served_world.site(server.port).slug}"
    return served_world.tenant(slug, host=f"{slug}.example", port=server.port)


def test_a_token_request_over_plain_http_is_refused(server, served_world, outside):
    response = Machine(server, outside).request_token(served_world.client(outside))

    assert response.status_code == 400
    assert json.loads(response.data) == {"error": "invalid_request", "error_description": "Use https."}


def test_a_forwarded_scheme_from_nobodys_proxy_is_ignored(server, outside, form):
    claims = [
        "X-Forwarded-Proto: https",
        "X-Forwarded-Ssl: on",
        "X-Forwarded-Protocol: ssl",
        "Forwarded: proto=https",
    ]

    answer = server.send(token_request(form, f"Host: {outside.host}", *claims))

    assert answer.json["error_description"] == "Use https."


def test_a_page_over_plain_http_leads_to_https_without_the_secret(server, outside):
    address = "/oauth2/authorize?response_type=code&client_secret=MY_SECRET&client_id=a&client%5Fsecret=MY_SECRET"

    sign_in = server.send(request("GET /login", f"Host: {outside.host}"))
    authorize = server.send(request(f"GET {address}", f"Host: {outside.host}:{outside.port}"))

    assert sign_in.status == 301
    assert sign_in.headers["Location"] == f"https://{outside.host}/login"
    assert authorize.status == 301
    assert authorize.headers["Location"] == f"https://{outside.host}/oauth2/authorize?response_type=code&client_id=a"
    assert "Set-Cookie" not in sign_in.headers
