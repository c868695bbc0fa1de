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


METADATA = "/.well-known/oauth-authorization-server"
FORM = "application/x-www-form-urlencoded"


def typed(body: bytes, kind: str) -> list[str]:
    return [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    head = "\r\n".join([f"{line} HTTP/1.1", *headers])
    return head.encode("latin-1") + b"\r\n\r\n" + body


def token_request(body: bytes, *headers: str, line: str = "POST /oauth2/token") -> bytes:
    return request(line, *headers, *typed(body, FORM), body=body)


def test_the_request_that_the_others_spoil_is_good(server, host, form):
    assert server.send(token_request(form, f"Host: {host}")).status == 200


def test_two_hosts_are_refused(server, host, form):
    """MT-25."""
    assert server.send(token_request(form, f"Host: {host}", "Host: globex.localhost")).status == 400


def test_no_host_is_nobodys_host(server, form):
    answer = server.send(token_request(form))

    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json["error"] == "not_found"


def test_an_address_in_the_request_line_that_is_the_hosts_is_served(server, site, host, form):
    """MT-26: RFC 9112 section 3.2.2 wants that of every server."""
    for address in (f"http://{host}", f"HTTP://{host.upper()}"):
        assert server.send(token_request(form, f"Host: {host}", line=f"POST {address}/oauth2/token")).status == 200


@pytest.mark.parametrize(
    "address, named",
    [
        pytest.param("http://{other}", "{host}", id="MT-26-another-tenant"),
        pytest.param("http://{host}", "{other}", id="MT-26-another-host"),
        pytest.param("http://{site}", "{host}", id="MT-26-another-port"),
        pytest.param("https://{host}", "{host}", id="MT-26-another-scheme"),
        pytest.param("ftp://{host}", "{host}", id="MT-26-no-scheme-of-ours"),
        pytest.param("http://bo@{host}", "{host}", id="MT-26-with-a-user"),
        pytest.param("http://{host}@{other}", "{host}", id="MT-26-the-host-as-user"),
        pytest.param("http://{other}#@{host}", "{host}", id="MT-26-behind-a-fragment"),
        pytest.param("http://", "{host}", id="MT-26-nobody"),
        pytest.param("http://nobody.localhost", "{host}", id="MT-26-nobodys-name"),
    ],
)
def test_an_address_in_the_request_line_that_is_not_the_hosts_is_refused(
    server, served_world, site, host, form, address, named
):
    """A proxy goes by the line, the server by Host: the request would be two tenants' at once."""
    other = served_world.site(server.port)
    names = {"host": host, "site": site.host, "other": f"{other.host}:{other.port}"}
    line = f"POST {address.format(**names)}/oauth2/token"

    answer = server.send(token_request(form, f"Host: {named.format(**names)}", line=line))

    assert answer.status == 400
    assert b"access_token" not in answer.body


def test_an_address_with_a_fragment_is_refused(server, host, form):
    """A request line has none (RFC 9112 section 3.2.1), so nobody agrees on what it means."""
    assert server.send(token_request(form, f"Host: {host}", line="POST /oauth2/token#x")).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/oauth2/nope", "/oauth2/token/", "//oauth2/token", "/oauth2/../oauth2/token", "/oauth2/./token",
        "/oauth2//token", "/oauth2/token;x=1", "/oauth2/token%3Bx=1", "/oauth2/token%00", "/oauth2/token%20",
        "/oauth2/token%23", "/OAUTH2/token", "/admin%2f..%2foauth2/token", "/%2foauth2/token", "/%2e/oauth2/token",
    ],
)  # fmt: skip
def test_another_spelling_of_an_address_is_no_address(server, host, form, path):
    """G-06, G-07: never a redirect, which would send the secret a second time."""
    answer = server.send(token_request(form, f"Host: {host}", line=f"POST {path}"))

    assert answer.status == 404
    assert "Location" not in answer.headers
    assert b"access_token" not in answer.body


@pytest.mark.parametrize("path", ["/oauth2%2ftoken", "/oauth2/%74oken"])
def test_an_encoded_address_is_the_plain_one_under_the_same_rules(server, host, form, path):
    """G-07: WSGI decodes before anybody looks."""
    good = server.send(token_request(form, f"Host: {host}", line=f"POST {path}"))
    in_the_address = server.send(token_request(form, f"Host: {host}", line=f"POST {path}?client_secret=x"))

    assert good.status == 200
    assert in_the_address.json["error"] == "invalid_request"


NOBODYS_HOSTS = [
    "nope.localhost", "127.0.0.1", "[::1]", "localhost", "{site}.evil.example", "x{site}", "{parent}",
    "{host},globex.localhost", "{host} globex.localhost", "{host}/x", "{host}?x", "{host}#x", "{host}\\x",
    "bo@{host}", "globex.localhost@{host}", "%61{host}", "{site}%00", "{site}:", "{site}:a", "{site}:+1", "\xe4{host}",
    "{site}.", "{site}.:{port}", ".{site}", "", " ",
]  # fmt: skip


@pytest.mark.parametrize("name", NOBODYS_HOSTS)
def test_a_host_that_is_nobodys_is_told_nothing_on_any_path(server, site, host, form, name):
    """MT-21, MT-23: there is no tenant to fall back on."""
    named = name.format(site=site.host, host=host, port=site.port, parent=site.host.partition(".")[2])

    statuses = {
        path: server.send(request(f"GET {path}", f"Host: {named}")).status
        for path in ("/", "/login", "/oauth2/authorize", "/oauth2/token", "/oauth2/verify", METADATA)
    }

    assert statuses == dict.fromkeys(statuses, 404)
    assert server.send(token_request(form, f"Host: {named}")).status == 404


@pytest.mark.parametrize("name", ["{upper}:{port}", "{site}:443", "{site}:80", "{site}", "{host}\t"])
def test_another_spelling_of_a_host_is_the_same_tenant_under_its_own_name(server, site, host, name):
    """MT-23: what is printed is what is registered, never what was sent."""
    named = name.format(site=site.host, host=host, port=site.port, upper=site.host.upper())

    answer = server.send(request(f"GET {METADATA}", f"Host: {named}"))

    assert answer.json["issuer"] == site.url


@pytest.mark.parametrize(
    "header",
    [
        "X-Original-URL: /login", "X-Rewrite-URL: /login", "X-HTTP-Method-Override: GET", "X-Method-Override: GET",
        "X-Host: {other}", "X-Forwarded-Server: {other}", "X-Forwarded-Host: {other}", "X_Forwarded_Host: {other}",
        "Forwarded: host={other};proto=https", "X-Forwarded-Port: 1", "X-Forwarded-Proto: https",
        "X-Forwarded-Proto: http\r\nX-Forwarded-Proto: https", "X-Forwarded-Prefix: /x", "SCRIPT_NAME: /login",
        "Script-Name: /login", "PATH_INFO: /login", "Path-Info: /login", "REMOTE_USER: ana", "Remote-User: ana",
        "Proxy: http://{other}", "Host_: {other}", "X-Forwarded-For: 203.0.113.7", "X-Real-IP: 203.0.113.7",
    ],
)  # fmt: skip
def test_a_header_that_means_something_to_other_servers_changes_nothing(server, served_world, site, host, header):
    """HT-11, MD-05: nobody's proxy is in front."""
    other = served_world.site(server.port)
    asked = request(f"GET {METADATA}", f"Host: {host}")

    answer = server.send(request(f"GET {METADATA}", f"Host: {host}", header.format(other=other.host)))

    assert answer.body == server.send(asked).body
    assert answer.status == 200


@pytest.mark.parametrize(
    "body, kind",
    [
        pytest.param(b"grant_type=client_credentials&client_id=\x80\xff&client_secret=x", FORM, id="MI-02-raw-bytes"),
        pytest.param(b"grant_type=client_credentials\xc3\xa4", FORM, id="MI-02-raw-utf-8"),
        pytest.param(b"x" * 100, f"{FORM}\r\nContent-Encoding: gzip", id="MI-07-encoded"),
        pytest.param(b"{}", "application/json", id="MI-05-json"),
        pytest.param(b"--b\r\n\r\n" * 1001, "multipart/form-data; boundary=b", id="MI-04-parts"),
        pytest.param(b"--" * 30_000, "multipart/form-data; boundary=" + "-" * 5000, id="MI-04-boundary"),
    ],
)
def test_a_body_that_is_no_plain_form_is_refused_whole(server, host, body, kind):
    answer = server.send(request("POST /oauth2/token", f"Host: {host}", *typed(body, kind), body=body))

    assert (answer.status, answer.json["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("field", ["a[b]=c", "a.b=c", "a%3Bb=c", "__proto__=x", "x={%22a%22:1}", "client_id[]=x", "=x"])
def test_a_parameter_with_an_odd_name_is_an_unknown_parameter(server, host, form, field):
    """MI-05: RFC 6749 section 3.2 has them ignored."""
    assert server.send(token_request(form + b"&" + field.encode(), f"Host: {host}")).status == 200


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(b'--b\r\nContent-Disposition: form-data; name="email"\r\n\r\nx\r\n' * 1001, id="MI-04-parts"),
        pytest.param(b'--b\r\nContent-Disposition: form-data; name="email"\r\n\r\n' + b"x" * 600_000, id="MI-04-field"),
        pytest.param(
            b'--b\r\nContent-Disposition: form-data; name="email"; filename="x"\r\n\r\n' + b"x" * 200_000,
            id="MI-04-file",
        ),
        pytest.param(b"\r\n--" * 60_000, id="MI-04-boundaries"),
        pytest.param(b"--b\r\nContent-Disposition: form-data\r\n\r\nx", id="MI-04-a-part-without-a-name"),
    ],
)
def test_a_form_of_a_page_that_comes_in_parts_is_refused(server, host, parts):
    """No page has such a form."""
    body = parts + b"\r\n--b--\r\n"
    headers = typed(body, "multipart/form-data; boundary=b")

    answer = server.send(request("POST /login", f"Host: {host}", *headers, body=body))

    assert answer.status in {400, 413}


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
    assert json.loads(response.data) == {
        "error": "invalid_request",
        "error_description": "Use https.",
        "error_uri": f"https://{outside.host}/developers#invalid_request",
    }


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
    """HT-12."""
    address = "/oauth2/authorize?response_type=code&client_secret=MY_SECRET&client_id=a&client%5Fsecret=MY_SECRET"

    sign_in = server.send(request("GET /login", f"Host: {outside.host}"))
    authorize = server.send(request(f"GET {address}", f"Host: {outside.host}:{outside.port}"))

    assert sign_in.status == 301
    assert sign_in.headers["Location"] == f"https://{outside.host}/login"
    assert authorize.status == 301
    assert authorize.headers["Location"] == f"https://{outside.host}/oauth2/authorize?response_type=code&client_id=a"
    assert "Set-Cookie" not in sign_in.headers


@pytest.mark.parametrize(
    "path",
    [
        "/login",
        "/device",
        "/confirm",
        "/settings/app/api-clients",
        "/oauth2/authorize",
        "/account/apps",
        "/oauth2/token",
        "/openapi.json",
        "/healthz",
        "/nothing",
    ],
)
@pytest.mark.parametrize("query", ["next=caf\xe9", "q=\xe9&page=\xe9", "user_code=\xff&ui_locales=\xff"])
def test_bytes_beyond_ascii_in_an_address_crash_nothing(browser, world, tenant, path, query):
    browser.sign_in(world.admin(tenant))
    for method in ("GET", "POST"):
        response = browser.client.open(
            path,
            method=method,
            base_url=tenant.url,
            environ_overrides={"QUERY_STRING": query},
            headers={"Referer": f"{tenant.url}/"},
        )
        assert response.status_code < 500, method
