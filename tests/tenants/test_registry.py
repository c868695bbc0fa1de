"""What a tenant may be called and may choose: every setting is read from text, checked, and changes the version."""

from __future__ import annotations

import pytest

from app.extensions import db
from app.tenants import registry
from app.tenants.registry import TenantError
from tests.world import now


@pytest.fixture
def change(world, tenant):
    """Change a setting of the tenant; returns what it reads afterwards."""

    def change(key, value):
        def work():
            found = registry.find_by_slug("acme")
            before = found.version
            registry.change_setting(found, key, value)
            assert found.version > before, "a worker that remembers the tenant would not notice"
            if key == "scope":
                return " ".join(scope.name for scope in registry.list_scopes(found.id))
            return getattr(found, key)

        return world.run(work)

    return change


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("name", "  Acme \t Inc ", "Acme Inc"),
        ("name", b"Acme", "Acme"),
        ("colour", "#a1b2c3", "#A1B2C3"),
        ("token_lifetime", "60", 60),
        ("token_lifetime_max", "315360000", 315_360_000),
        ("scope", "write read write", "read write"),
        ("scope", "", ""),
        ("resources", "https://b.example/api https://a.example", "https://a.example https://b.example/api"),
        ("resources", "", ""),
        ("refresh_idle", "60", 60),
        ("refresh_lifetime", "86400", 86_400),
        ("pkce_required", "YES", True),
        ("pkce_required", "on", True),
        ("pkce_required", "0", False),
        ("sign_in_methods", " password ", "password"),
        ("host", "ACME.example.org", "acme.example.org"),
        ("logo", "", None),
    ],
)
def test_a_setting_is_read_from_text(change, key, value, expected):
    assert change(key, value) == expected


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("name", " ", "1 to 80 characters"),
        ("name", "x" * 81, "1 to 80 characters"),
        ("name", "a\0b", "1 to 80 characters"),
        ("colour", "red", "#1F5FBF"),
        ("token_lifetime", "59", "from 60 to"),
        ("token_lifetime", "31536001", "from 60 to 31536000"),
        ("token_lifetime", "-5", "from 60 to"),
        ("token_lifetime", "٦٠", "from 60 to"),
        ("token_lifetime", "9" * 30, "from 60 to"),
        ("scope", 'say"hi"', "printable ASCII"),
        ("scope", "é", "printable ASCII"),
        ("resources", "https://a.example/#x", "no resource indicator"),
        ("resources", "http://a.example", "no resource indicator"),
        ("resources", "https://", "no resource indicator"),
        ("resources", "https://me@a.example", "no resource indicator"),
        ("refresh_idle", "59", "from 60 to"),
        ("pkce_required", "maybe", "yes or no"),
        ("sign_in_methods", "magic", "password"),
        ("host", "https://acme.example.org", "is not a host name"),
        ("host", "acme.example.org:80", "is not a host name"),
        ("host", "globex.example", "exists already"),
        ("logo", b"GIF89a", "PNG, WebP or JPEG"),
        ("logo", b"\x89PNG\r\n\x1a\n" + b"x" * 1_000_000, "at most 1 MB"),
        ("flavour", "sweet", "There are: name, host"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(change, other_tenant, key, value, message):
    with pytest.raises(TenantError, match=message):
        change(key, value)


def test_a_lower_maximum_lowers_the_lifetime_too(world, change):
    change("token_lifetime_max", "3600")

    assert world.run(lambda: registry.find_by_slug("acme").token_lifetime) == 3600


def test_the_old_host_stays_an_alias(world, tenant, change):
    change("host", "acme.example.org")
    change("host", "acme.example.org")

    assert world.run(lambda: registry.list_hosts(tenant.id)) == ["acme.example", "acme.example.org"]
    assert world.run(lambda: registry.find_by_host("acme.example", 8000).host) == "acme.example.org"


@pytest.mark.parametrize(
    "slug, hosts, message",
    [
        ("Acme", ["new.example"], "short name"),
        ("-acme", ["new.example"], "short name"),
        ("a" * 64, ["new.example"], "short name"),
        ("new", [], "at least one host name"),
        ("new", ["no host"], "is not a host name"),
        ("new", ["a" * 64 + ".example"], "is not a host name"),
        ("new", ["new.example", "acme.example"], "Host name 'acme.example' exists already"),
        ("acme", ["new.example"], "Tenant 'acme' exists already"),
    ],
)
def test_a_tenant_that_cannot_be_is_refused_and_leaves_nothing(world, tenant, slug, hosts, message):
    with pytest.raises(TenantError, match=message):
        world.run(lambda: registry.create_tenant(slug, "New", hosts, now()))

    assert world.run(registry.list_slugs) == ["acme"]
    assert world.run(lambda: registry.find_by_host("new.example", 8000)) is None


def test_two_who_take_one_host_name_at_once(world, tenant, other_tenant, app, monkeypatch):
    """The one who looked before the other committed is told by the database."""
    monkeypatch.setattr(db.session, "get", lambda *_key: None)

    with pytest.raises(TenantError, match=r"'globex\.example' exists already"):
        world.run(lambda: registry.change_setting(registry.find_by_slug("acme"), "host", "globex.example"))


@pytest.mark.parametrize(
    "host, address",
    [
        ("acme.example", "https://acme.example"),
        ("acme.localhost", "http://acme.localhost:8000"),
        ("127.0.0.1", "http://127.0.0.1:8000"),
    ],
)
def test_only_names_of_this_machine_are_served_without_https(host, address):
    assert registry.base_url(host, 8000) == address


def test_port_80_is_not_named():
    assert registry.base_url("localhost", 80) == "http://localhost"
