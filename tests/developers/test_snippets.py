"""Every piece of code on the page, taken from the page and run against a real server with a real client."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import update

from app.client_manager import snippets as of_clients
from app.developers import snippets
from app.extensions import db
from app.tokens.models import DeviceCode
from tests.clients.person import Person
from tests.developers.grammars import mistakes
from tests.developers.page import PAGE, Copied, PageReader
from tests.postgres import skip_or_fail
from tests.server import PATIENCE
from tests.world import Browser, Machine, answer_of

pytestmark = pytest.mark.server

#: So that every program finds *.localhost, which not every resolver knows (RFC 6761 section 6.3).
_PYTHON_NAMES = """
import socket
resolve = socket.getaddrinfo
def resolve_localhost(host, *arguments, **options):
    ours = isinstance(host, str) and host.endswith(".localhost")
    return resolve("127.0.0.1" if ours else host, *arguments, **options)
socket.getaddrinfo = resolve_localhost
"""
_NODE_NAMES = """
const dns = require("node:dns");
const resolve = dns.lookup;
dns.lookup = (host, ...rest) => resolve(host.endsWith(".localhost") ? "127.0.0.1" : host, ...rest);
"""


@pytest.fixture
def client(served_world, site):
    """With every character that an ID may hold, in the order that is worst for shells."""
    return served_world.client(site, "~root.x_y-Z9")


@pytest.fixture
def read(server, served_world, site):
    """The page as an admin reads it who picked a client."""
    browser = Browser(server, site)
    browser.sign_in(served_world.admin(site))

    def open_page(client_id: str) -> dict[str, Copied]:
        page = browser.get(f"{PAGE}?client={client_id}")
        assert page.status_code == 200
        return PageReader(page.text).snippets

    return open_page


@pytest.fixture
def begin(site, tmp_path):
    """Start a piece of code as a file of its language, with ``more`` behind it."""
    (tmp_path / ".curlrc").write_text(f'resolve = "{site.host}:{site.port}:127.0.0.1"\nnoproxy = "*"\n')
    (tmp_path / "sitecustomize.py").write_text(_PYTHON_NAMES)
    (tmp_path / "names.cjs").write_text(_NODE_NAMES)

    def begin_it(snippet: Copied, more: str = "", **variables: str) -> subprocess.Popen[str]:
        suffix = {"sh": "sh", "python": "py", "javascript": "mjs", "powershell": "ps1"}[snippet.language]
        program = tmp_path / f"snippet.{suffix}"
        program.write_text(f"{snippet.text}\n{more}\n", encoding="utf-8")
        command = {
            "sh": ["bash", str(program)],
            "python": [sys.executable, str(program)],
            "javascript": ["node", "--require", str(tmp_path / "names.cjs"), str(program)],
            "powershell": ["pwsh", "-NoProfile", "-File", str(program)],
        }[snippet.language]
        if shutil.which(command[0]) is None:
            skip_or_fail(f"no {command[0]}")
        return subprocess.Popen(
            command,
            env={
                "PATH": os.environ["PATH"],
                "CURL_HOME": str(tmp_path),
                "HOME": "/somebody",
                "PYTHONPATH": str(tmp_path),
                "NO_PROXY": "*",
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    begun: list[subprocess.Popen[str]] = []

    def begin_and_remember(*arguments: Any, **variables: Any) -> subprocess.Popen[str]:
        begun.append(begin_it(*arguments, **variables))
        return begun[-1]

    yield begin_and_remember
    for program in begun:
        with program:
            program.kill()


@pytest.fixture
def run(begin):
    """The same to its end; what it prints."""

    def run_it(snippet: Copied, more: str = "", **variables: str) -> str:
        program = begin(snippet, more, **variables)
        printed, complaints = program.communicate(timeout=PATIENCE)
        assert program.returncode == 0, complaints
        return printed

    return run_it


def token_of_curl(run: Callable[..., str], snippet: Copied, **variables: str) -> str:
    return str(json.loads(run(snippet, **variables))["access_token"])


@pytest.mark.parametrize("ref, more", [("curl", ""), ("python", "print(token)"), ("javascript", "console.log(token)")])
def test_the_code_gets_a_token_that_works(server, site, client, read, run, ref, more):
    printed = run(read(client.client_id)[ref], more, CLIENT_SECRET=client.secret)

    token = json.loads(printed)["access_token"] if ref == "curl" else printed.strip()
    answer = Machine(server, site).verify(token)
    assert answer.status_code == 200
    assert answer.json["client_id"] == client.client_id


@pytest.mark.parametrize("ref", ["python", "javascript"])
def test_the_code_fails_aloud_with_a_wrong_secret(client, read, run, ref):
    with pytest.raises(AssertionError, match=r"401|invalid_client"):
        run(read(client.client_id)[ref], CLIENT_SECRET="wrong")


def test_the_token_is_checked(client, read, run):
    snippets = read(client.client_id)
    token = token_of_curl(run, snippets["curl"], CLIENT_SECRET=client.secret)

    assert json.loads(run(snippets["check"], ACCESS_TOKEN=token))["active"] is True


@pytest.mark.parametrize("public", [False, True])
def test_the_walk_of_an_app_ends_with_a_token_of_the_person(server, served_world, site, read, run, public):
    app = served_world.oauth_app(site, public=public, redirect_uris=["https://fieldapp.example/callback?a=1&b=2"])
    person = Person(server, served_world.user(site))
    snippets = read(app.client_id)

    back = person.visit(snippets["authorize"].text)
    query = parse_qs(urlsplit(back).query)
    assert query["state"] == ["STATE"]
    secret = {} if app.secret is None else {"CLIENT_SECRET": app.secret}
    token = token_of_curl(run, snippets["exchange"], CODE=query["code"][0], **secret)

    assert Machine(server, site).verify(token).json["username"] == person.user.email


@pytest.mark.parametrize("ref, more", [
    ("pkce-python", "print(verifier)"),
    ("pkce-javascript", "console.log(verifier);"),
])  # fmt: skip
def test_an_app_makes_its_own_values(server, served_world, site, read, run, ref, more):
    app = served_world.oauth_app(site)
    person = Person(server, served_world.user(site))
    snippet = read(app.client_id)[ref]
    made = [run(snippet, more).split() for _ in range(2)]
    assert len({verifier for _, verifier in made}) == 2

    address, verifier = made[0]
    person.browser.sign_in(person.user)
    path = address.removeprefix(site.url)
    code = answer_of(person.browser.allow(path))["code"]
    machine = Machine(server, site)
    assert machine.redeem(app, code, code_verifier="x" * 43).json["error"] == "invalid_grant"
    code = answer_of(person.browser.get(path))["code"]
    assert machine.redeem(app, code, code_verifier=verifier).status_code == 200


FIND = {"organisation-python": "find_organisation", "organisation-javascript": "await findOrganisation"}


@pytest.mark.parametrize("ref", FIND)
def test_an_organisation_is_found_by_what_people_type(site, client, read, run, ref):
    typed = [site.host, f"{site.host}:{site.port}", f"  {site.url}/login?next=x ", f"{site.host}:{site.port}".upper()]
    show = "print({}['issuer'])" if ref.endswith("python") else "console.log(({}).issuer)"
    more = "\n".join(show.format(f"{FIND[ref]}({json.dumps(text)})") for text in typed[1:])

    printed = run(read(client.client_id)[ref], more).split()

    assert printed == [f"{site.url}/oauth2/authorize", f"{site.url}/oauth2/token"] + [site.url] * 3


@pytest.mark.parametrize("ref", FIND)
def test_where_there_is_no_organisation_none_is_found(site, client, read, run, ref):
    nobody = json.dumps(f"nobody.localhost:{site.port}")
    with pytest.raises(AssertionError, match="There is no organisation at nobody"):
        run(read(client.client_id)[ref], f"{FIND[ref]}({nobody})")


@pytest.mark.parametrize("public", [False, True])
def test_a_device_gets_a_token_of_the_person(server, served_world, site, read, run, public):
    app = served_world.oauth_app(site, public=public, redirect_uris=[], device_grant=True)
    person = Person(server, served_world.user(site))
    snippets = read(app.client_id)
    secret = {} if app.secret is None else {"CLIENT_SECRET": app.secret}

    codes = json.loads(run(snippets["device-code"], **secret))
    waiting = json.loads(run(snippets["device-token"], DEVICE_CODE=codes["device_code"], **secret))
    assert waiting["error"] == "authorization_pending"
    person.visit(codes["verification_uri_complete"])
    # As if the device had waited as it has to.
    waited = update(DeviceCode).where(DeviceCode.tenant_id == site.id).values(polled_at=None)
    served_world.run(lambda: db.session.execute(waited))
    token = token_of_curl(run, snippets["device-token"], DEVICE_CODE=codes["device_code"], **secret)

    assert Machine(server, site).verify(token).json["username"] == person.user.email


@pytest.mark.parametrize("ref, more", [("device-python", "print(token)"), ("device-javascript", "console.log(token);")])
@pytest.mark.parametrize("decision", ["allow", "cancel"])
def test_a_program_shows_a_code_and_waits_for_its_person(server, served_world, site, read, begin, ref, more, decision):
    app = served_world.oauth_app(site, redirect_uris=[], device_grant=True)
    user = served_world.user(site)
    browser = Browser(server, site)
    browser.sign_in(user)

    program = begin(read(app.client_id)[ref], more, CLIENT_SECRET=app.secret)
    said = re.fullmatch(rf"Open {re.escape(site.url)}/device and type (\S+)\n", program.stdout.readline())
    browser.decide(said[1], decision)
    printed, complaints = program.communicate(timeout=PATIENCE)

    if decision == "allow":
        assert Machine(server, site).verify(printed.strip()).json["username"] == user.email
    else:
        assert program.returncode != 0
        assert "access_denied" in complaints


#: What an ID cannot hold, and what each language must hear as text all the same.
HOSTILE = "it's \"a#(tab) $x {0} \\n `b"


def test_power_shell_gets_a_token(server, site, client, read, run):
    snippet = read(client.client_id)["powershell"]
    if shutil.which("pwsh") is not None:
        token = run(snippet, "Write-Output $token", CLIENT_SECRET=client.secret).strip()
        assert Machine(server, site).works(token)
    check_text(snippet, site, client, quote="'")
    assert "$env:CLIENT_SECRET" in snippet.text


def test_c_sharp_is_whole(site, client, read):
    snippet = read(client.client_id)["csharp"]
    check_text(snippet, site, client, quote='"')
    assert 'Environment.GetEnvironmentVariable("CLIENT_SECRET")' in snippet.text


def test_power_query_is_whole(site, client, read):
    snippet = read(client.client_id)["power-query"]
    check_text(snippet, site, client, quote='"', url=site.url)
    assert snippet.text.startswith("let\n")
    assert snippet.text.endswith("in\n    Source")
    assert "RelativePath" in snippet.text


@pytest.mark.parametrize("write", [
    lambda base: Copied("", "powershell", snippets.powershell(base, HOSTILE)),
    lambda base: Copied("", "csharp", snippets.csharp(base, HOSTILE)),
    lambda base: Copied("", "powerquery", of_clients.power_query(base, HOSTILE)),
    lambda base: Copied("", "powerquery", of_clients.power_query_with_token(base + HOSTILE)),
])  # fmt: skip
def test_what_is_filled_in_ends_no_string(write):
    snippet = write("https://acme.example")
    assert mistakes(snippet.language, snippet.text) == []


@pytest.mark.parametrize("language, text", [
    ("powershell", "$a = Invoke-RestMethod -Body @{ a = 'b'"),
    ("powershell", "$a = 'it's'"),
    ("csharp", 'var a = new Dictionary<string, string> { ["a"] = "b" '),
    ("csharp", "using var http = new HttpClient { Timeout = 1 }\nvar a = 1;"),
    ("powerquery", 'let a = "b in a'),
    ("powerquery", "let a = [b = 1,] in a"),
])  # fmt: skip
def test_a_mistake_is_found(language, text):
    assert mistakes(language, text)


def check_text(snippet, site, client, *, quote, url=None):
    """What can be seen without running it: the language allows it, and it calls the right place."""
    assert mistakes(snippet.language, snippet.text) == []
    assert f"{quote}{url or site.url + '/oauth2/token'}{quote}" in snippet.text
    assert f"{quote}{client.client_id}{quote}" in snippet.text


def test_every_piece_of_code_is_tried_here(client, read):
    tried = {
        "curl", "python", "javascript", "power-query", "powershell", "csharp", "check",
        "authorize", "exchange", "pkce-python", "pkce-javascript",
        "organisation-python", "organisation-javascript", "sign-in-button",  # tests/browser/test_developers.py
        "device-code", "device-token", "device-python", "device-javascript",
    }  # fmt: skip
    assert read(client.client_id).keys() == tried
