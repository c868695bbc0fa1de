"""The OpenAPI document: in step with the routes both ways, and true of every answer of a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.jsonschema.types import JsonValue
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.clients.registered import DEVICE_CODE
from app.machine_paths import is_machine_path
from app.oauth.openapi import load_document
from app.oauth.requests import TOKEN_PARAMETERS
from tests.admin_api.program import let_manage
from tests.fuzzing import load_profile
from tests.server import PATIENCE
from tests.world import AppHandle, Browser, ClientHandle, Machine, TenantHandle, basic, pkce_pair

pytestmark = pytest.mark.database
live = pytest.mark.server

DOCUMENT = load_document()
OPERATIONS = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item if method != "parameters"]
ADMIN = "/api/admin/"
#: Those that take a form from a client.
FORMS = [path for path, method in OPERATIONS if method == "post" and not path.startswith(ADMIN)]
#: Those by which a program manages API clients.
MANAGING = [(path, method) for path, method in OPERATIONS if path.startswith(ADMIN)]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

load_profile()
#: Each example is a request to a real server.
by_request = settings(max_examples=settings.default.max_examples // 4)


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """What a reference points to."""
    while "$ref" in schema:
        found: Any = DOCUMENT
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def properties_of(schema: dict[str, Any]) -> set[str]:
    """The names of a form, whichever of its variants has them."""
    schema = resolve(schema)
    names = set(schema.get("properties", {}))
    return names.union(*(properties_of(part) for part in [*schema.get("oneOf", []), *schema.get("allOf", [])]))


def form_of(path: str) -> set[str]:
    return properties_of(
        DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    )


def test_every_machine_endpoint_is_described_and_nothing_else_is(app):
    served = {
        (re.sub(r"<(?:[^:<>]+:)?([a-z_]+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if is_machine_path(rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }

    assert served == set(OPERATIONS)


def test_every_endpoint_of_the_metadata_is_described(machine):
    metadata = machine.open("/.well-known/oauth-authorization-server").json
    endpoints = {
        url for name, url in metadata.items() if name.endswith("_endpoint") and name != "authorization_endpoint"
    }

    described = {*FORMS, "/oauth2/revocations"}
    assert {url.removeprefix(machine.tenant.url) for url in endpoints} <= described


def test_the_forms_name_what_the_endpoints_read():
    described = set().union(*(form_of(path) for path in FORMS if path != "/oauth2/par"))

    # Guarded in addresses only: no endpoint reads the one, and the browser brings the other.
    # And where a token was found is a parameter of one endpoint only.
    assert described == TOKEN_PARAMETERS - {"audience", "request_uri"} | {"url"}


def test_a_tenant_serves_it_with_its_own_address(machine, other_tenant, app):
    response = machine.open("/openapi.json")

    assert response.json == DOCUMENT | {"servers": [{"url": "https://acme.example"}]}
    assert response.headers["Cache-Control"] == "public, max-age=300"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    elsewhere = Machine(app, other_tenant).open("/openapi.json")
    assert elsewhere.json["servers"] == [{"url": "https://globex.example"}]


def test_nobodys_host_gets_none(machine):
    response = machine.open("/openapi.json", headers={"Host": "nobody.example"})

    assert (response.status_code, response.json["error"]) == (404, "not_found")


@dataclass
class Caller:
    """Somebody who calls the tenant's real server, with what they know: values that are good for something there."""

    tenant: TenantHandle
    client: ClientHandle | AppHandle
    known: dict[str, list[str]]

    def __post_init__(self) -> None:
        # By the Host header, so that no resolver has to know the tenant's name.
        self.address = f"http://127.0.0.1:{self.tenant.port}"
        self.host = {"Host": f"{self.tenant.host}:{self.tenant.port}"}
        self.own = basic(self.client.client_id, self.client.secret or "")
        served = requests.get(f"{self.address}/openapi.json", headers=self.host, timeout=PATIENCE)
        self.schema = schemathesis.openapi.from_dict(served.json())

    def send(self, case: Case, headers: dict[str, str] | None = None) -> Response:
        """Send it, and hold the answer against the document."""
        response = case.call(base_url=self.address, headers=self.host | (headers or {}), timeout=PATIENCE)
        case.validate_response(response, checks=CHECKS)
        return response

    def post(self, path: str, **body: JsonValue) -> Response:
        """A form of one's own, with one's own credentials."""
        case = self.schema[path]["POST"].Case(body=body, media_type="application/x-www-form-urlencoded")
        return self.send(case, self.own)

    def get(self, path: str, headers: dict[str, str] | None = None) -> Response:
        return self.send(self.schema[path]["GET"].Case(), headers)


@pytest.fixture
def engine() -> str:
    """What an answer looks like does not depend on the database."""
    return "postgresql"


@pytest.fixture
def as_api_client(server, served_world, site) -> Caller:
    client = served_world.client(site, resource_server=True)
    known = {
        "client_id": client.client_id,
        "client_secret": client.secret,
        "token": Machine(server, site).token(client),
    }
    return Caller(site, client, {name: [value] for name, value in known.items()})


@pytest.fixture
def as_app(server, served_world, site) -> Caller:
    """An app with every grant, whose person has allowed it."""
    app = served_world.oauth_app(site, refresh_tokens=True, device_grant=True)
    browser, machine = Browser(server, site), Machine(server, site)
    browser.sign_in(served_world.user(site))
    tokens = [machine.redeem(app, browser.get_code(app)).json for _ in range(3)]
    known = {
        "client_id": [app.client_id],
        "client_secret": [app.secret],
        "redirect_uri": [app.redirect_uri],
        "code": [browser.get_code(app) for _ in range(3)],
        "refresh_token": [token["refresh_token"] for token in tokens],
        "token": [token[kind] for token in tokens for kind in ("access_token", "refresh_token")],
        "code_challenge": [pkce_pair()[1]],
    }
    return Caller(site, app, known)


@pytest.fixture
def as_program(server, served_world, site) -> Caller:
    """A client that may manage API clients, the token of which is sent along; one more client, and a token of its."""
    client, other = served_world.client(site), served_world.client(site)
    let_manage(served_world, client)
    machine = Machine(server, site)
    caller = Caller(site, client, {})
    caller.own = {"Authorization": f"Bearer {machine.token(client)}"}
    address = f"{ADMIN}v1/clients/{other.pk}/tokens"
    made = [machine.open(address, method="POST", json={"name": "A"}, headers=caller.own).json for _ in range(2)]
    caller.known = {"client_pk": [str(other.pk), str(client.pk)], "ref": [token["id"] for token in made]}
    return caller


@pytest.fixture
def caller(request: pytest.FixtureRequest) -> Caller:
    found: Caller = request.getfixturevalue(request.param)
    return found


@live
def test_what_an_api_client_gets_is_as_described(as_api_client):
    issued = as_api_client.post("/oauth2/token", grant_type="client_credentials")

    assert issued.status_code == 200
    token = issued.json()["access_token"]
    assert as_api_client.get("/oauth2/verify", {"Authorization": f"Bearer {token}"}).status_code == 200
    assert as_api_client.post("/oauth2/introspect", token=token).json()["active"] is True
    begin = as_api_client.get("/oauth2/revocations", as_api_client.own)
    assert begin.status_code == 200
    assert as_api_client.post("/oauth2/revoke", token=token).status_code == 200
    query = {"after": begin.json()["cursor"], "wait": "0.5"}
    since = as_api_client.schema["/oauth2/revocations"]["GET"].Case(query=query)
    assert as_api_client.send(since, as_api_client.own).json()["events"]
    assert as_api_client.post("/oauth2/introspect", token=token).json() == {"active": False}


@live
def test_what_a_client_with_signed_tokens_gets_is_as_described(as_api_client, served_world, site):
    as_api_client.client = served_world.client(site, token_format="jwt")
    as_api_client.own = basic(as_api_client.client.client_id, as_api_client.client.secret)

    issued = as_api_client.post("/oauth2/token", grant_type="client_credentials")

    token = issued.json()["access_token"]
    assert token.count(".") == 2
    assert as_api_client.get("/oauth2/verify", {"Authorization": f"Bearer {token}"}).status_code == 200
    assert as_api_client.post("/oauth2/introspect", token=token).json()["active"] is True
    assert len(as_api_client.get("/oauth2/jwks").json()["keys"]) == 1
    assert as_api_client.get("/.well-known/oauth-authorization-server").json()["jwks_uri"]
    assert as_api_client.post("/oauth2/revoke", token=token).status_code == 200
    assert as_api_client.post("/oauth2/introspect", token=token).json() == {"active": False}


@live
def test_what_an_app_gets_is_as_described(as_app):
    known = {name: values[0] for name, values in as_app.known.items()}
    redeem = {"grant_type": "authorization_code", "code": known["code"], "redirect_uri": known["redirect_uri"]}

    issued = as_app.post("/oauth2/token", **redeem)
    assert issued.status_code == 200
    refresh = {"grant_type": "refresh_token", "refresh_token": issued.json()["refresh_token"]}
    assert as_app.post("/oauth2/token", **refresh).status_code == 200
    assert as_app.post("/oauth2/token", **refresh).json()["error"] == "invalid_grant"
    assert as_app.post("/oauth2/introspect", token=known["token"]).json()["username"]
    assert as_app.post("/oauth2/par", response_type="code", redirect_uri=known["redirect_uri"]).status_code == 201
    device = as_app.post("/oauth2/device_authorization")
    assert device.status_code == 200
    poll = {"grant_type": DEVICE_CODE, "device_code": device.json()["device_code"]}
    assert as_app.post("/oauth2/token", **poll).json()["error"] == "authorization_pending"
    assert as_app.post("/oauth2/token", **poll).json()["error"] == "slow_down"


@live
@pytest.mark.parametrize(
    "path", [path for path, method in OPERATIONS if method == "get" and not path.startswith(ADMIN)]
)
def test_what_can_be_read_is_as_described(as_api_client, path):
    token = as_api_client.known["token"][0]
    for authorization in (None, f"Bearer {token}", f"Bearer {token[::-1]}", "Bearer", "Basic Og==", "Digest x", "é"):
        headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
        assert as_api_client.get(path, headers).status_code in {200, 401}


@live
def test_no_edge_of_what_is_described_is_answered_otherwise(as_api_client, tmp_path):
    """schemathesis' own walk along the edges of each schema: missing, doubled, too long, another method."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{as_api_client.address}/openapi.json"),
            *("--url", as_api_client.address, "--phases", "coverage", "--seed", "1", "--no-color"),
            # An empty parameter counts as absent, so that neither is a fault.
            *("--exclude-checks", "positive_data_acceptance,negative_data_rejection"),
            *(
                part
                for name, value in (as_api_client.host | as_api_client.own).items()
                for part in ("-H", f"{name}: {value}")
            ),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "✅ Coverage" in done.stdout


@st.composite
def informed(draw, cases, caller: Caller):
    """A made-up case in which some values went and some gave way to good ones, and the headers to send with it."""
    case = draw(cases)
    authenticates = draw(st.sampled_from([True, True, True, False]))
    if isinstance(case.body, dict):
        for name in list(case.body):
            decision = draw(st.sampled_from(["keep", "keep", "known", "known", "drop"]))
            if decision == "drop" or (authenticates and name.startswith("client_")):
                del case.body[name]
            elif decision == "known" and name in caller.known:
                case.body[name] = draw(st.sampled_from(caller.known[name]))
    return case, caller.own if authenticates else {}


@live
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as described", "otherwise"])
@pytest.mark.parametrize(
    "caller,path",
    [
        *((("as_api_client", path)) for path in ("/oauth2/token", "/oauth2/revoke", "/oauth2/introspect")),
        *((("as_app", path)) for path in FORMS),
    ],
    indirect=["caller"],
)
def test_whatever_a_client_sends_the_answer_is_as_described(caller, path, mode):
    cases = caller.schema[path]["POST"].as_strategy(mode)

    @by_request
    @given(informed(cases, caller))
    def try_it(made):
        case, headers = made
        assert caller.send(case, headers).status_code < 500

    try_it()


def takes_more_than_ids(path: str, method: str) -> bool:
    """Whether there is anything to send that is not as described."""
    operation = DOCUMENT["paths"][path][method]
    return "requestBody" in operation or any(one.get("in") == "query" for one in operation.get("parameters", []))


@st.composite
def informed_program(draw, cases, caller: Caller):
    """A made-up case that mostly names a client and a token that are there."""
    case = draw(cases)
    for name in list(case.path_parameters or {}):
        if name in caller.known and draw(st.sampled_from([True, True, True, False])):
            case.path_parameters[name] = draw(st.sampled_from(caller.known[name]))
    return case, caller.own if draw(st.sampled_from([True, True, True, False])) else {}


@live
@pytest.mark.parametrize("path,method,mode", [
    *((path, method, GenerationMode.POSITIVE) for path, method in MANAGING),
    *((path, method, GenerationMode.NEGATIVE) for path, method in MANAGING if takes_more_than_ids(path, method)),
])  # fmt: skip
def test_whatever_a_program_sends_the_answer_is_as_described(as_program, path, method, mode):
    cases = as_program.schema[path][method.upper()].as_strategy(mode)

    @by_request
    @given(informed_program(cases, as_program))
    def try_it(made):
        case, headers = made
        assert as_program.send(case, headers).status_code < 500

    try_it()


@live
def test_what_a_program_that_manages_clients_gets_is_as_described(as_program):
    """Each action once, as it is meant: the made-up cases above seldom get so far."""

    def call(method: str, path: str, body: Any = None, **more: str) -> Response:
        parameters = {name: value for name, value in more.items() if "{" + name + "}" in path}
        case = as_program.schema[f"{ADMIN}v1/clients{path}"][method].Case(
            path_parameters=parameters, **({} if body is None else {"body": body, "media_type": "application/json"})
        )
        return as_program.send(case, as_program.own)

    made = call("POST", "", {"name": "Made", "owner": None, "networks": ["127.0.0.1", "::1"]})
    assert made.status_code == 201
    pk = made.json()["id"]
    token = call("POST", "/{client_pk}/tokens", {"name": "A", "expires_in": 60}, client_pk=pk)
    assert token.status_code == 201
    ref = token.json()["id"]
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/{client_pk}", None),
        ("PATCH", "/{client_pk}", {"name": "Changed"}),
        ("GET", "/{client_pk}/tokens", None),
        ("POST", "/{client_pk}/turn-off", None),
        ("POST", "/{client_pk}/turn-on", {}),
        ("POST", "/{client_pk}/secret", {"overlap": "1h"}),
        ("GET", "/{client_pk}/activity", None),
        ("GET", "/{client_pk}/problems", None),
        ("DELETE", "/{client_pk}/tokens/{ref}", None),
        ("POST", "/{client_pk}/revoke-all", None),
        ("DELETE", "/{client_pk}", None),
    ):
        assert call(method, path, body, client_pk=pk, ref=ref).status_code in {200, 204}, (method, path)
