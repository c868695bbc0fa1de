"""Which redirect URIs may be registered, and which one matches: RFC 6749, RFC 8252, RFC 9700."""

from __future__ import annotations

import time

import pytest

from app.clients import redirect_uris
from app.clients.redirect_uris import RedirectUriError

WEB = "https://app.example/cb"


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example:443/cb", "https://app.example:8443/cb", "http://app.example/cb",
        "HTTPS://app.example/cb",
        "https://APP.example/cb", "https://app.example/CB", "https://app.example/cb/",
        "https://app.example/cb?",
        "https://app.example/cb?x=1", "https://app.example/cb#", "https://app.example/cb#x",
        "https://app.example",
        "https://app.example/", "https://app.example//cb", "https://app.example/./cb",
        "https://app.example/cb/../cb",
        "https://app.example/cb/../evil", "https://app.example/cb/..%2Fevil",
        "https://app.example/cb/%2e%2e%2fevil",
        "https://app.example/cb/%252e%252e/evil", "https://app.example/cb/;/../../evil",
        "https://app.example/cb%3B%2F..",
        "https://app.example/cb%0A%0D/..", "https://app.example/%63b", "https://app.example/cb%00",
        WEB + "\0",
        WEB + "\n", WEB + " ", " " + WEB, "\t" + WEB, "https://app.example.evil.example/cb", "https://evilapp.example/cb",
        "https://evil.example/https://app.example/cb", "https://app.example@evil.example/cb",
        "https://app.example:x@evil.example/cb", "https://user@app.example/cb", "https:\\\\app.example\\cb",
        "https://app.example\\@evil.example/cb", "https:///app.example/cb", "//app.example/cb",
        "https:app.example/cb",
        "app.example/cb", "/cb", "", "https://аpp.example/cb", "https://app.example./cb",
        "javascript:alert(1)",
        "data:text/html,x", "https://*.example/cb", "https://127.0.0.1/cb", "https://" + "a:" * 20_000,
        "x" * 50_000,
    ],
)  # fmt: skip
def test_nothing_but_the_registered_string_matches(uri):
    assert not redirect_uris.is_registered(uri, [WEB, "https://other.example/cb"])


def test_the_registered_string_matches():
    assert redirect_uris.is_registered(WEB, ["https://other.example/cb", WEB])
    assert not redirect_uris.is_registered(WEB, [])


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_loopback_ip_may_have_any_port(host):
    for registered in [f"http://{host}/cb?x=1", f"http://{host}:5000/cb?x=1"]:
        for port in ["", ":1", ":80", ":5000", ":49152", ":65535"]:
            assert redirect_uris.is_registered(f"http://{host}{port}/cb?x=1", [registered]), port


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:5000/other", "http://127.0.0.1:5000/cb?x=1", "http://127.0.0.1:5000/cb#x",
        "http://127.0.0.1:5000/cb/", "http://127.0.0.1:5000", "http://user@127.0.0.1:5000/cb",
        "http://127.0.0.1:5000@evil.example/cb", "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1:80.evil.example/cb",
        "http://127.1/cb", "http://127.0.0.2/cb", "http://0x7f000001/cb", "http://2130706433/cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:65536/cb", "http://127.0.0.1:99999/cb", "http://127.0.0.1:123456/cb",
        "http://127.0.0.1:abc/cb",
        "http://127.0.0.1:/cb", "http://127.0.0.1:-1/cb", "http://127.0.0.1:٣/cb",
        "http://127.0.0.1:5000/cb\n",
        "https://127.0.0.1:5000/cb", "HTTP://127.0.0.1:5000/cb", "http://[::1]:5000/cb",
        "http://localhost:5000/cb",
        "http://[::ffff:127.0.0.1]:5000/cb", "http://127.0.0.1 :5000/cb",
    ],
)  # fmt: skip
def test_nothing_else_of_a_loopback_address_may_differ(uri):
    assert not redirect_uris.is_registered(uri, ["http://127.0.0.1/cb"])


def test_the_name_localhost_has_one_port():
    assert redirect_uris.is_registered("http://localhost:5000/cb", ["http://localhost:5000/cb"])
    assert not redirect_uris.is_registered("http://localhost:5001/cb", ["http://localhost:5000/cb"])


def test_a_private_scheme_matches_as_a_string():
    registered = ["com.example.app:/cb"]

    assert redirect_uris.is_registered("com.example.app:/cb", registered)
    for uri in [
        "com.example.app://cb",
        "com.example.APP:/cb",
        "com.example.app:/cb?x",
        "com.example.app:/cb/",
    ]:
        assert not redirect_uris.is_registered(uri, registered)


@pytest.mark.parametrize(
    "uri",
    [
        WEB, "https://app.example", "https://app.example:8443/cb", "https://app.example/cb?tenant=a&x=%20", "https://[::2]/cb",
        "http://127.0.0.1/cb", "http://127.0.0.1:5000/cb", "http://[::1]/cb", "http://localhost/cb",
        "com.example.app:/cb", "com.example.app://cb/x", "org.example-app.x1:/",
        "https://app.example/" + "a" * 1900,
    ],
)  # fmt: skip
def test_what_may_be_registered(uri):
    assert redirect_uris.check(uri) == uri
    assert redirect_uris.is_registered(uri, [uri])


@pytest.mark.parametrize(
    "uri",
    [
        "", " ", "app.example/cb", "/cb", "//app.example/cb", "http://app.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://localhost.evil.example/cb", "http://192.168.0.1/cb", "http://127.0.0.2/cb", "myapp:/cb",
        "myapp://cb",
        "javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd",
        "ftp://app.example/", "about:blank",
        "blob:https://app.example/x", "https://app.example/cb#", "https://app.example/cb#x",
        "com.example.app:/cb#x",
        "https://user@app.example/cb", "https://user:x@app.example/cb", "https://@app.example/",
        "http://x@127.0.0.1/cb",
        "com.example.app://x@y/cb", "https://*.app.example/cb", "https://app.example/*",
        "https://app.example/c b",
        "https://app.example/\"", "https://app.example/<b>", "https://app.example\\cb",
        "https://app.example/cb\n",
        "https://app.example/\0", "https://äpp.example/cb", "https:///cb", "https://:443/cb",
        "https:app.example/cb",
        "https://app.example:0/cb", "https://app.example:99999/cb", "https://app.example:x/cb",
        "https://[::1/cb",
        "http://127.0.0.1:0/cb", "http://127.0.0.1:99999/cb", "https://app.example/" + "a" * 5000,
        "com.example.app:cb",
        "{{redirect}}", "https://app.example/{x}", "https://app.example/|x", "https://app.example/^",
    ],
)  # fmt: skip
def test_what_may_not_be_registered(uri):
    with pytest.raises(RedirectUriError) as refused:
        redirect_uris.check(uri)

    assert len(str(refused.value)) < 400
    assert "\n" not in str(refused.value)


def test_hostile_addresses_cost_no_time():
    started = time.perf_counter()
    for uri in [
        "https://" + "a:" * 20_000,
        "http://127.0.0.1" + ":1" * 20_000,
        "com" + ".a" * 25_000 + "!",
        "a" * 50_000,
    ]:
        redirect_uris.is_registered(uri, [WEB, "http://127.0.0.1/cb"])
        with pytest.raises(RedirectUriError):
            redirect_uris.check(uri)
    with pytest.raises(RedirectUriError):
        redirect_uris.check("com" + ".a" * 990)

    assert time.perf_counter() - started < 0.5


def test_which_answers_stay_on_the_persons_device():
    assert not redirect_uris.is_on_this_device(WEB)
    for uri in ["http://127.0.0.1/cb", "http://localhost/cb", "com.example.app:/cb"]:
        assert redirect_uris.is_on_this_device(uri)
