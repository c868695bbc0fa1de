"""The tenant is the Host of the request: no default, no wildcard, no memory that outlives the truth."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from sqlalchemy import event
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.test import Client

from app.extensions import db
from app.tenants import current, registry
from app.tenants.current import TenantMemory
from tests.databases import close, make_app
from tests.statements import statements
from tests.world import Browser, Machine, authorize_address

METADATA = "/.well-known/oauth-authorization-server"
FORM = "application/x-www-form-urlencoded"

#: Every kind of address: token, verify, metadata, pages, files, unknown ones of both kinds.
ADDRESSES = [
    ("POST", "/oauth2/token"),
    ("GET", "/oauth2/token"),
    ("GET", "/oauth2/verify"),
    ("GET", METADATA),
    ("GET", "/oauth2/authorize?response_type=code&client_id=x"),
    ("GET", "/oauth2/nope"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/account/apps"),
    ("GET", "/settings/app/api-clients"),
    ("GET", "/static/keyporter.css"),
    ("GET", "/nope"),
    ("GET", "/"),
    ("DELETE", "/"),
]

NOBODYS_HOSTS = [
    "nope.example", "example", "127.0.0.1", "[::1]", "localhost", "localhost:8000", "a.acme.example",
    "xacme.example",
    "acme.example.evil.example", "acme.example.", "acme..example", "acme", "acme.example@evil.example",
    "evil.example/acme.example", "acme.example, acme.example", "acme.example acme.example", "acme.example:x",
    "acme.example:", "acme.example:443:443", "*.example", "*", "%61cme.example", "acme.example\t",
    "аcme.example",
    "acme_example", "-acme.example", "acme.example:" + "9" * 20, "a" * 300, "a." * 5000,
]  # fmt: skip


def call(app, host, method="GET", path="/", **options):
    """A request with exactly that Host header; None leaves it out."""

    def with_host(environ, start_response):
        environ.pop("HTTP_HOST", None)
        if host is not None:
            environ["HTTP_HOST"] = host
        return app.wsgi_app(environ, start_response)

    return Client(with_host, use_cookies=False).open(path, method=method, base_url="https://acme.example", **options)


def seen(response):
    """What a caller can compare, without what differs each time. Vary speaks of a cookie that pages alone read."""
    changing = {"Request-Id", "Date", "Vary"}
    headers = sorted((name, value) for name, value in response.headers if name not in changing)
    return response.status_code, response.text.replace(response.headers["Request-Id"], "ID"), headers


def change(app, work):
    with app.app_context():
        work(registry.find_by_slug("acme"))
        db.session.commit()


@pytest.fixture
def other_worker(database_url):
    """A second process on the same database, with a memory of its own."""
    app = make_app(database_url)
    yield app
    close(app)


def test_a_host_that_is_nobodys_gets_one_answer_on_every_path(app, tenant):
    for accept, content_type in [
        ("application/json", "application/json"),
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8"),
    ]:
        expected = seen(call(app, "nope.example", headers={"Accept": accept}))
        assert expected[0] == 404
        assert ("Content-Type", content_type) in expected[2]
        assert "Set-Cookie" not in dict(expected[2])

        for method, path in ADDRESSES:
            response = call(app, "nope.example", method, path, headers={"Accept": accept})
            assert seen(response) == expected, (method, path)


def test_who_says_nothing_about_what_it_reads_gets_json(app, tenant):
    for headers in [{}, {"Accept": "*/*"}, {"Accept": ""}, {"Accept": "image/png"}]:
        response = call(app, "nope.example", headers=headers)

        assert response.json == {
            "error": "not_found",
            "error_description": "There is no organisation at this address.",
        }


def test_every_host_that_is_not_exactly_a_tenants_is_nobodys(app, tenant):
    expected = seen(call(app, "nope.example", path=METADATA))

    for host in [None, "", *NOBODYS_HOSTS]:
        assert seen(call(app, host, path=METADATA)) == expected, host


def test_case_and_port_of_a_host_mean_nothing(app, tenant, other_tenant):
    for host in ["acme.example", "ACME.EXAMPLE", "Acme.Example:443", "acme.example:80", "acme.example:8443"]:
        assert call(app, host, path=METADATA).json["issuer"] == "https://acme.example", host


def test_no_other_header_chooses_the_tenant(app, tenant, other_tenant):
    for name in ["X-Forwarded-Host", "X-Host", "X-Original-Host", "Forwarded", "X-Forwarded-Server"]:
        response = call(app, "acme.example", path=METADATA, headers={name: "globex.example"})
        assert response.json["issuer"] == "https://acme.example"
        assert call(app, "nope.example", path=METADATA, headers={name: "acme.example"}).status_code == 404


def test_health_answers_on_any_host(app, tenant):
    for host in ["acme.example", "nope.example", "10.0.0.1", "a b", None]:
        for path in ["/healthz", "/readyz"]:
            response = call(app, host, path=path)
            assert (response.status_code, response.json) == (200, {"status": "ok"}), (host, path)


def test_a_warm_worker_needs_no_statement_to_know_the_tenant(app, machine, api_client):
    token = machine.token(api_client)

    with statements(app) as sent:
        assert machine.works(token)

    assert len(sent) == 1


def test_an_unknown_host_is_not_remembered(app, tenant):
    memory = app.extensions["keyporter.tenants"]

    for number in range(5):
        call(app, f"nope-{number}.example", path="/oauth2/verify")

    assert not memory._known


class TestSuspended:
    def test_it_answers_the_same_on_every_path(self, app, tenant):
        change(app, registry.suspend)

        for accept in ["application/json", "text/html"]:
            expected = seen(call(app, tenant.host, headers={"Accept": accept}))
            assert expected[0] == 403
            for method, path in ADDRESSES:
                response = call(app, tenant.host, method, path, headers={"Accept": accept})
                assert seen(response) == expected, (method, path)

    def test_no_token_is_issued_and_none_works(self, app, machine, api_client):
        token = machine.token(api_client)
        change(app, registry.suspend)

        assert machine.request_token(api_client).status_code == 403
        assert machine.verify(token).status_code == 403

    def test_tokens_of_before_stay_dead_when_it_is_resumed(self, app, machine, api_client):
        token = machine.token(api_client)
        change(app, registry.suspend)
        change(app, registry.resume)

        assert machine.verify(token).status_code == 401
        assert machine.works(machine.token(api_client))

    def test_the_other_tenants_go_on(self, app, world, tenant, other_tenant):
        machine, client = Machine(app, other_tenant), world.client(other_tenant)
        token = machine.token(client)

        change(app, registry.suspend)

        assert machine.works(token)
        assert machine.request_token(client).status_code == 200


class TestAnotherWorker:
    """``app`` has the tenant in memory when the other worker changes it; the next request must see it."""

    @pytest.fixture
    def warm(self, machine, api_client):
        """A live token of a client that ``app`` has just served."""
        token = machine.token(api_client)
        assert machine.works(token)
        return token

    def test_a_suspended_tenant(self, other_worker, machine, api_client, warm, browser):
        change(other_worker, registry.suspend)

        assert machine.verify(warm).status_code == 403
        assert machine.request_token(api_client).status_code == 403
        assert browser.get("/login").status_code == 403

    def test_a_suspended_tenant_seen_first_by_the_token_endpoint(self, app, other_worker, machine, api_client, warm):
        change(other_worker, registry.suspend)

        assert machine.request_token(api_client).status_code == 403
        change(other_worker, registry.resume)
        assert machine.request_token(api_client).status_code == 200
        assert machine.verify(warm).status_code == 401

    def test_a_deleted_tenant(self, other_worker, machine, api_client, warm, browser):
        change(other_worker, registry.delete_tenant)

        assert machine.verify(warm).status_code == 404
        assert machine.request_token(api_client).status_code == 404
        assert machine.open(METADATA).status_code == 404
        assert browser.get("/login").status_code == 404

    def test_a_deleted_tenant_seen_first_by_the_token_endpoint(self, other_worker, machine, api_client, warm):
        change(other_worker, registry.delete_tenant)

        assert machine.request_token(api_client).status_code == 404

    def test_a_changed_setting(self, other_worker, machine, api_client, warm):
        change(other_worker, lambda tenant: registry.change_setting(tenant, "token_lifetime", "600"))

        assert machine.request_token(api_client).json["expires_in"] == 600

    def test_a_renamed_tenant(self, other_worker, machine, api_client, warm):
        change(other_worker, lambda tenant: registry.change_setting(tenant, "host", "new.example"))

        assert machine.verify(warm).json["iss"] == "https://new.example"
        assert machine.open(METADATA).json["issuer"] == "https://new.example"

    def test_a_tenant_made_under_a_deleted_ones_name(self, app, world, other_worker, machine, api_client, warm, admin):
        """Nothing of the first one comes back: no client, no token, no person."""
        browser = Browser(app, machine.tenant)
        browser.sign_in(admin)
        change(other_worker, registry.delete_tenant)
        again = world.tenant("acme")

        assert again.id != machine.tenant.id
        assert machine.verify(warm).status_code == 401
        assert machine.request_token(api_client).status_code == 401
        assert browser.get("/account/apps").status_code == 303
        assert browser.sign_in(admin).status_code == 422
        assert machine.works(machine.token(world.client(again, api_client.client_id)))

    def test_a_host_that_moved_to_another_tenant(self, world, other_worker, machine, api_client, warm):
        change(other_worker, registry.delete_tenant)
        taker = world.tenant("globex")
        with world.app.app_context():
            world.run(lambda: registry.change_setting(registry.find_by_slug("globex"), "host", "acme.example"))

        assert machine.verify(warm).status_code == 401
        token = machine.token(world.client(taker, api_client.client_id))
        assert machine.verify(token).json["tenant"] == "globex"


class TestBetweenTwoStatements:
    """A page has read the tenant; then it changes; then the client is read, with the tenant's version."""

    @pytest.fixture
    def meanwhile(self, app, other_worker):
        """Let the other worker do ``work`` once, right after the next request found its tenant."""
        left: list[object] = []

        def after_statement(_connection, _cursor, statement, *_rest):
            if left and "tenant_host" in statement:
                change(other_worker, left.pop())

        with app.app_context():
            engine = db.engine
        event.listen(engine, "after_cursor_execute", after_statement)
        yield left.append
        event.remove(engine, "after_cursor_execute", after_statement)
        assert not left

    @pytest.fixture
    def address(self, world, tenant):
        return authorize_address(world.oauth_app(tenant))

    @staticmethod
    def rename(tenant):
        registry.change_setting(tenant, "name", "Acme United")

    def test_the_question_is_put_by_the_tenant_as_it_is_now(self, browser, member, address, meanwhile):
        browser.sign_in(member)
        meanwhile(self.rename)

        page = browser.get(address)

        assert page.status_code == 200
        assert "Acme United" in page.text

    def test_the_answer_counts(self, browser, member, address, meanwhile):
        browser.sign_in(member)
        browser.get(address)
        meanwhile(self.rename)

        assert "code=" in browser.post(address, {"decision": "allow"}).headers["Location"]

    def test_sign_in_on_the_way_to_an_app_goes_on(self, browser, address, meanwhile):
        meanwhile(self.rename)

        assert browser.get("/login", query_string={"next": address}).status_code == 200

    def test_a_suspended_one_asks_nothing(self, browser, address, meanwhile):
        meanwhile(registry.suspend)

        assert browser.get(address).status_code == 403


class TestMemory:
    @pytest.fixture
    def settings(self, app, tenant):
        with app.app_context():
            return registry.find_by_host(tenant.host, 8000)

    def test_it_forgets_after_a_while(self, monkeypatch, settings):
        clock = [1000.0]
        monkeypatch.setattr("app.tenants.current.time.monotonic", lambda: clock[0])
        memory = TenantMemory(seconds=30)
        memory.remember("a.example", settings)

        clock[0] += 29.9
        assert memory.find("a.example") == settings
        clock[0] += 0.1
        assert memory.find("a.example") is None

    def test_it_keeps_so_many_and_drops_the_oldest(self, settings):
        memory = TenantMemory(seconds=30, most=2)
        for host in ["a", "b", "a", "c"]:
            memory.remember(host, settings)

        assert [memory.find(host) for host in "abc"] == [settings, None, settings]

    def test_it_can_be_told_to_forget(self, settings):
        memory = TenantMemory(seconds=30)
        memory.remember("a", settings)
        memory.forget("a")
        memory.forget("never known")

        assert memory.find("a") is None


@pytest.mark.parametrize("path", ["/%0D%0ASet-Cookie:a=b", "/login%3Fclient_secret=x", "/%23x", "/%C3%A9%20b"])
def test_the_way_to_https_keeps_the_path_as_it_was_sent(app, tenant, path):
    """Decoded, a line break would be a crash and a question mark a query."""
    answer = app.test_client().get(f"{path}?a=%41", base_url=f"http://{tenant.host}")

    assert answer.status_code == 301
    assert unquote(answer.headers["Location"]) == unquote(f"{tenant.url}{path}?a=A")
    assert urlsplit(answer.headers["Location"])[3:] == ("a=%41", "")


def test_outside_of_a_request_there_is_no_tenant(app):
    with app.app_context(), pytest.raises(RuntimeError):
        _ = current.current_tenant.slug


def test_a_tenant_that_changes_all_the_time_is_asked_for_again_later(app, tenant):
    def never_verified(_tenant):
        raise current.TenantChanged

    with app.test_request_context("/oauth2/verify", base_url=tenant.url):
        current.enter_tenant()
        with pytest.raises(ServiceUnavailable) as refused:
            current.verified(never_verified)

    assert refused.value.retry_after == 1
