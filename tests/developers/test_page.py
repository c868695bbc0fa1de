"""The developers' page: who may read it, what is filled in for whom, and that every error leads to its row."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from app.developers.words import ERRORS
from app.oauth.error_uris import CODES, NO_TOKEN
from app.tenants import registry as tenants
from tests.developers.page import PAGE, PageReader
from tests.statements import statements
from tests.world import Browser, answer_of, authorize_address

APP = Path(__file__).parents[2] / "app"
PATHS = [PAGE, f"{PAGE}.md", f"{PAGE}/postman.json"]


def set_public(world, tenant, value="yes"):
    def change():
        tenants.change_setting(tenants.find_by_slug(tenant.slug), "developers_public", value)

    world.run(change)


@pytest.fixture
def stranger(browser):
    return browser


@pytest.fixture
def ana(browser, admin):
    browser.sign_in(admin)
    return browser


class TestWhoMayRead:
    @pytest.mark.parametrize("path", PATHS)
    def test_a_stranger_signs_in_first_and_comes_back(self, stranger, member, path):
        response = stranger.get(f"{path}?client=x")
        assert response.status_code == 303
        assert response.headers["Location"].startswith("/login?next=")
        assert "client" in response.headers["Location"]

        stranger.get(response.headers["Location"])
        back = stranger.post(response.headers["Location"], {"email": member.email, "password": member.password})
        assert back.headers["Location"] == f"{path}?client=x"

    @pytest.mark.parametrize("path", PATHS)
    def test_a_stranger_reads_where_the_tenant_lets_them(self, world, tenant, stranger, path):
        set_public(world, tenant)
        assert stranger.get(path).status_code == 200

        set_public(world, tenant, "no")
        assert stranger.get(path).status_code == 303

    def test_a_public_page_of_one_tenant_opens_no_other(self, world, tenant, other_tenant, app):
        set_public(world, tenant)

        assert Browser(app, other_tenant).get(PAGE).status_code == 303

    def test_the_setting_is_the_operators(self, shell, tenant):
        assert shell.json("tenant", "show", "acme")["developers_public"] is False
        shell.do("tenant", "set", "acme", "developers_public", "yes")
        assert shell.json("tenant", "show", "acme")["developers_public"] is True

    def test_nobody_keeps_the_page(self, ana):
        for path in PATHS:
            assert ana.get(path).headers["Cache-Control"] == "no-store"


class TestWhatIsFilledIn:
    def test_an_admin_picks_a_client(self, ana, api_client):
        page = ana.get(f"{PAGE}?client={api_client.client_id}")
        read = PageReader(page.text)

        assert api_client.client_id in read.options
        for ref in ("curl", "python", "javascript", "power-query", "powershell", "csharp"):
            assert api_client.client_id in read.snippets[ref].text
        assert "The values of Power BI are filled in." in page.text
        assert api_client.secret not in page.text
        assert "YOUR_CLIENT_ID" not in page.text

    def test_an_admin_picks_an_app(self, world, tenant, ana):
        app = world.oauth_app(tenant)
        read = PageReader(ana.get(f"{PAGE}?client={app.client_id}").text)

        for ref in ("authorize", "exchange", "pkce-python", "pkce-javascript", "device-code", "device-python"):
            assert app.client_id in read.snippets[ref].text
        assert app.redirect_uri in read.snippets["exchange"].text
        assert "YOUR_CLIENT_ID" in read.snippets["curl"].text
        assert '"$CLIENT_SECRET"' in read.snippets["exchange"].text

    def test_a_public_app_is_told_that_it_has_no_secret(self, world, tenant, ana):
        app = world.oauth_app(tenant, public=True)
        page = ana.get(f"{PAGE}?client={app.client_id}")

        snippets = PageReader(page.text).snippets
        for ref in ("exchange", "device-code", "device-token", "device-python", "device-javascript"):
            assert "CLIENT_SECRET" not in snippets[ref].text, ref
        assert "This app has no secret: PKCE stands in for it." in page.text

    @pytest.mark.parametrize("path", PATHS)
    def test_a_member_and_a_stranger_learn_of_no_client(self, world, tenant, browser, member, api_client, path):
        set_public(world, tenant)
        address = f"{path}?client={api_client.client_id}"
        assert api_client.client_id not in browser.get(address).text

        browser.sign_in(member)
        page = browser.get(address).text
        assert api_client.client_id not in page
        assert "YOUR_CLIENT_ID" in page

    @pytest.mark.parametrize("path", PATHS)
    def test_another_tenants_client_is_none(self, world, other_tenant, ana, path):
        foreign = world.client(other_tenant, name="Globex export")

        response = ana.get(f"{path}?client={foreign.client_id}")
        page = response.text
        assert response.status_code == 200
        assert foreign.client_id not in page
        assert "Globex" not in page

    @pytest.mark.parametrize("value", ["", "nobody", "a%00b", "%F0%9F%98%80", "x" * 3000, "'; DROP TABLE client; --"])
    def test_what_is_no_client_is_nothing(self, ana, value):
        assert ana.get(f"{PAGE}?client={value}").status_code == 200

    def test_every_reader_gets_pkce_values_of_their_own(self, ana):
        verifiers = {PageReader(ana.get(PAGE).text).snippets["exchange"].text for _ in range(3)}
        assert len(verifiers) == 3

    def test_every_address_is_the_tenants_own(self, ana):
        page = ana.get(PAGE).text
        addresses = set(re.findall(r"https?://[^/\"'\s&<]+", page)) - {"http://127.0.0.1"}
        assert addresses == {"https://acme.example", "https://your-app.example"}

    def test_however_many_clients_there_are_it_costs_the_same(self, world, tenant, ana, app):
        ana.get(PAGE)
        with statements(app) as few:
            ana.get(PAGE)
        for _ in range(30):
            world.client(tenant)
        with statements(app) as many:
            ana.get(PAGE)
        assert len(many) == len(few) <= 4


class TestTheOtherForms:
    def test_the_markdown_holds_the_same_code(self, ana, api_client):
        page = PageReader(ana.get(f"{PAGE}?client={api_client.client_id}").text)
        response = ana.get(f"{PAGE}.md?client={api_client.client_id}")

        assert response.content_type == "text/markdown; charset=utf-8"
        blocks = re.findall(r"```(\w+)\n(.*?)\n```", response.text, re.DOTALL)
        for ref, snippet in page.snippets.items():
            if ref not in {"authorize", "exchange"}:  # values of PKCE differ
                assert (snippet.language, snippet.text) in blocks
        assert len(blocks) == len(page.snippets) + 1
        for code in ERRORS:
            assert f"| `{code}` |" in response.text
        assert "&" not in re.sub(r"```.*?```", "", response.text, flags=re.DOTALL)

    def test_a_name_is_text_in_markdown(self, world, app):
        tenant = world.tenant("odd", name="[x](http://evil.example) *b* <script>")
        set_public(world, tenant)

        text = Browser(app, tenant).get(f"{PAGE}.md").text
        assert r"\[x\]\(http://evil.example\) \*b\* \<script\>" in text
        assert "<script>" not in text.replace(r"\<script\>", "")

    def test_a_name_is_text_in_the_button_that_developers_copy(self, world, app):
        tenant = world.tenant("odd", name="A&B <script>")
        set_public(world, tenant)
        browser = Browser(app, tenant)

        button = PageReader(browser.get(PAGE).text).snippets["sign-in-button"].text
        assert ">Sign in with A&amp;B &lt;script&gt;</a>" in button
        assert button in browser.get(f"{PAGE}.md").text

    def test_postman_gets_the_values_without_a_secret(self, ana, api_client):
        response = ana.get(f"{PAGE}/postman.json?client={api_client.client_id}")

        environment = json.loads(response.data)
        values = {value["key"]: value["value"] for value in environment["values"]}
        assert values == {
            "base_url": "https://acme.example",
            "token_url": "https://acme.example/oauth2/token",
            "authorize_url": "https://acme.example/oauth2/authorize",
            "client_id": api_client.client_id,
            "client_secret": "",
        }
        assert environment["_postman_variable_scope"] == "environment"
        assert response.headers["Content-Disposition"] == 'attachment; filename="acme.postman_environment.json"'

    def test_every_link_of_the_page_leads_somewhere(self, ana, api_client):
        page = PageReader(ana.get(f"{PAGE}?client={api_client.client_id}").text)
        for link in page.links:
            if link.startswith("#"):
                assert link.removeprefix("#") in page.ids
            else:
                assert ana.get(link).status_code in {200, 302, 303}, link


class TestErrorsLeadHere:
    def test_every_code_has_one_row_and_one_anchor(self, ana):
        page = PageReader(ana.get(PAGE).text)

        assert page.errors == list(ERRORS)
        assert set(ERRORS) == {*CODES, NO_TOKEN}
        assert len(page.ids) == len(set(page.ids))
        assert {"429", "503"} <= set(page.ids)

    def test_no_code_that_is_answered_is_without_a_row(self):
        """As the OpenAPI document and the sources name them."""
        document = json.loads((APP / "oauth" / "openapi.json").read_text())
        named = set()

        def walk(node):
            if isinstance(node, dict):
                error = node.get("error")
                if isinstance(error, dict):
                    named.update(error.get("enum", []))
                    named.update(filter(None, [error.get("const")]))
                for value in node.values():
                    walk(value)
            elif isinstance(node, list):
                for value in node:
                    walk(value)

        walk(document)
        for path in (APP / "oauth").glob("*.py"):
            named.update(re.findall(r'^\s+error = "([a-z_]+)"', path.read_text(), re.MULTILINE))
        named.update(re.findall(r'\d{3}: "([a-z_]+)"', (APP / "errors.py").read_text()))
        assert named
        assert named - set(CODES) == set()

    @pytest.mark.parametrize(
        "body, code",
        [
            ({"grant_type": "password"}, "unsupported_grant_type"),
            ({"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}, "invalid_client"),
            ({}, "invalid_request"),
        ],
    )
    def test_an_answer_of_the_protocol_says_where_it_is_explained(self, machine, body, code):
        answer = machine.post_token(body)

        assert answer.json["error"] == code
        assert answer.json["error_uri"] == f"https://acme.example/developers#{code}"
        assert int(answer.headers["Content-Length"]) == len(answer.data)

    def test_so_does_what_no_view_answers(self, machine):
        assert machine.open("/oauth2/nothing").json["error_uri"].endswith("#not_found")
        assert machine.open("/oauth2/token").json["error_uri"].endswith("#method_not_allowed")

    def test_so_does_a_refused_token_and_a_missing_one(self, machine):
        assert machine.verify("x").json["error_uri"].endswith("/developers#invalid_token")
        missing = machine.open("/oauth2/verify")
        assert missing.json == {
            "message": "Send your token: Authorization: Bearer <token>",
            "docs": "https://acme.example/developers#no-token",
        }

    def test_a_success_says_nothing_more_than_before(self, machine, api_client):
        answer = machine.request_token(api_client)
        assert set(answer.json) == {"access_token", "token_type", "expires_in"}

    def test_an_app_is_told_too(self, world, tenant, browser, member):
        app = world.oauth_app(tenant)
        browser.sign_in(member)
        address = authorize_address(app, state="s")
        browser.get(address)
        answer = answer_of(browser.post(address, {"decision": "cancel"}))

        assert answer["error"] == "access_denied"
        assert answer["error_uri"] == "https://acme.example/developers#access_denied"

    def test_a_host_that_is_nobodys_has_no_page(self, app):
        response = app.test_client().post("/oauth2/token", base_url="https://nobody.example")
        assert "error_uri" not in response.text
