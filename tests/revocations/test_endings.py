"""Everything that ends or changes an introspection answer, with the keys by which readers hear of it."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import text, update

from app.accounts import registry as accounts
from app.accounts import store as people
from app.accounts.models import User
from app.clients import app_registry
from app.clients import registry as clients
from app.extensions import db
from app.revocations import keys
from app.tenants import registry as tenants
from app.tokens import codes, consents, families, store
from keyporter import token_format
from tests.forgotten_revocations import ForgottenRevocation
from tests.world import now


class Scene:
    """A tenant with an API client, an app, a person who allowed it, and a token of each."""

    def __init__(self, world, tenant, machine, browser, member):
        self.world, self.tenant, self.machine, self.member = world, tenant, machine, member
        self.client = world.client(tenant)
        self.token = machine.token(self.client)
        self.app = world.oauth_app(tenant, refresh_tokens=True)
        browser.sign_in(member)
        self.code = browser.get_code(self.app)
        self.grant = machine.redeem(self.app, self.code).json
        self.boss = world.admin(tenant)

    def row(self, find):
        """The row that ``find`` gives, for a piece of work that takes one."""
        found = find()
        assert found is not None
        return found

    def api_client(self):
        return self.row(lambda: clients.find_api_client(self.tenant.id, self.client.pk))

    def operators_app(self):
        return self.row(lambda: app_registry.find_app(self.app.client_id))

    def tenant_row(self):
        return self.row(lambda: tenants.find_by_id(self.tenant.id))

    def end_token(self):
        month, digest = token_format.expiry_month(self.token), hashlib.sha256(self.token.encode()).digest()
        assert store.revoke_token(self.tenant.id, self.client.pk, month, digest, now())

    @property
    def keys(self):
        """Every key by its name here."""
        tenant, user, app = self.tenant.id, self.member.id, self.app.id
        with self.world.app.app_context():
            family = db.session.scalar(text("SELECT id FROM token_family WHERE tenant_id = :t"), {"t": tenant})
        digest = hashlib.sha256(self.token.encode()).hexdigest()
        bought = hashlib.sha256(self.grant["access_token"].encode()).hexdigest()
        return {
            "tenant": f"{tenant}",
            "client": f"{tenant}.c{self.client.pk}",
            "app": f"{tenant}.c{app}",
            "user": f"{tenant}.u{user}",
            "boss": f"{tenant}.u{self.boss.id}",
            "consent": f"{tenant}.n{user}.{app}",
            "family": f"{tenant}.f{family}",
            "token": f"{tenant}.k{digest[:32]}",
            "bought": f"{tenant}.k{bought[:32]}",
        }


ENDINGS = {
    "all tokens of a client are revoked": (lambda s: clients.revoke_all(s.tenant.id, s.client.pk), ["client"]),
    "a client is turned off": (lambda s: clients.disable(s.api_client()), ["client"]),
    "a client is turned on": (lambda s: clients.enable(s.api_client()), ["client"]),
    "a client is deleted": (lambda s: clients.delete_api_client(s.tenant.id, s.client.pk), ["client"]),
    "a client gets another ID": (lambda s: clients.change_client_id(s.api_client(), "another-id"), ["client"]),
    "a client may call from elsewhere": (lambda s: clients.change_networks(s.api_client(), "10.0.0.0/8"), ["client"]),
    "a client gets other scopes": (lambda s: clients.change_scopes(s.api_client(), "a", "a"), ["client"]),
    "an app's tokens are revoked on a tenant": (lambda s: clients.revoke_all(s.tenant.id, s.app.id), ["app"]),
    "an app is turned off on a tenant": (lambda s: app_registry.turn_off(s.operators_app(), s.tenant.id), ["app"]),
    "an app is turned on on a tenant": (lambda s: app_registry.turn_on(s.operators_app(), s.tenant.id, 0), ["app"]),
    "an app is turned on everywhere": (lambda s: app_registry.turn_on_everywhere(s.operators_app(), 0), ["app"]),
    "an app is turned off": (lambda s: app_registry.disable(s.operators_app()), ["app"]),
    "an app is turned on again": (lambda s: app_registry.enable(s.operators_app()), ["app"]),
    "an app is changed": (lambda s: app_registry.change_app(s.operators_app(), refresh_tokens=False), ["app"]),
    "an app is deleted": (lambda s: app_registry.delete_app(s.operators_app()), ["app"]),
    "a person is turned off": (lambda s: accounts.disable_user(s.tenant.id, s.member.id), ["user"]),
    "a person is turned on": (lambda s: accounts.enable_user(s.tenant.id, s.member.id), ["user"]),
    "a person gets a new password": (
        lambda s: accounts.set_password(s.tenant.id, s.member.id, "another password"),
        ["user"],
    ),
    "an admin turns a person off": (
        lambda s: people.turn_off(s.tenant.id, s.member.id, by_password=True),
        ["user"],
    ),
    "a person becomes an admin": (lambda s: people.promote(s.tenant.id, s.member.id), ["user"]),
    "an admin becomes a member": (
        lambda s: people.promote(s.tenant.id, s.member.id) and people.demote(s.tenant.id, s.boss.id, by_password=True),
        ["boss", "user"],
    ),
    "a person removes an app": (
        lambda s: consents.withdraw_consent(s.tenant.id, s.member.id, s.app.id, now()),
        ["consent"],
    ),
    "a person removes all apps": (
        lambda s: consents.withdraw_consents(s.tenant.id, s.member.id, [s.app.id], now()),
        ["consent"],
    ),
    "a token is revoked": (lambda s: s.end_token(), ["token"]),
    "a refresh token is revoked": (
        lambda s: families.revoke_refresh_token(s.tenant.id, s.app.id, s.grant["refresh_token"], now()),
        ["family"],
    ),
    "a code is used twice": (
        lambda s: codes.revoke_what_the_code_bought(s.tenant.id, hashlib.sha256(s.code.encode()).digest(), now()),
        ["bought", "family"],
    ),
    "a tenant is suspended": (lambda s: tenants.suspend(s.tenant_row()), ["tenant"]),
    "a tenant is resumed": (lambda s: tenants.resume(s.tenant_row()), ["tenant"]),
    "a tenant is deleted": (lambda s: tenants.delete_tenant(s.tenant_row()), ["tenant"]),
    "a tenant gets another host": (lambda s: tenants.change_setting(s.tenant_row(), "host", "b.example"), ["tenant"]),
}


@pytest.fixture
def scene(world, tenant, machine, browser, member):
    return Scene(world, tenant, machine, browser, member)


def written(app, tenant):
    """The events of a tenant, be it there or not, as the database has them."""
    rows = text("SELECT position, key FROM revocation WHERE tenant_id = :t ORDER BY position, key")
    with app.app_context():
        return [(row.position, row.key) for row in db.session.execute(rows, {"t": tenant.id})]


@pytest.mark.parametrize("what", ENDINGS)
def test_readers_hear_of(app, world, tenant, scene, what):
    work, names = ENDINGS[what]
    before, known = written(app, tenant), scene.keys

    world.run(lambda: work(scene))

    new = [event for event in written(app, tenant) if event not in before]
    assert sorted(key for _, key in new) == sorted(known[name] for name in names)
    # One transaction, one position, behind all that were there.
    assert {position for position, _ in new} == {max([0, *(position for position, _ in before)]) + 1}


def test_what_is_told_names_what_an_answer_stands_on(scene, ears):
    known = scene.keys

    of_client = scene.machine.introspect(ears.client, scene.token).json["revocation"]
    of_person = scene.machine.introspect(ears.client, scene.grant["access_token"]).json["revocation"]

    lane, _, position = ears.cursor.partition(":")
    assert (of_client["lane"], of_client["position"]) == (int(lane), int(position))
    assert of_client["keys"] == [known["tenant"], known["client"], known["token"]]
    assert of_person["keys"] == [known[n] for n in ("tenant", "app", "user", "consent", "family", "bought")]


def test_only_a_resource_server_is_told_the_keys(scene):
    assert "revocation" not in scene.machine.introspect(scene.client, scene.token).json
    assert "revocation" not in scene.machine.introspect(scene.app, scene.grant["access_token"]).json
    assert "revocation" not in scene.machine.introspect(scene.app, scene.grant["refresh_token"]).json


@pytest.mark.parametrize("use", ["again", "revoke"])
def test_readers_hear_of_what_a_client_does_on_the_wire(scene, ears, use):
    if use == "again":
        scene.machine.refresh(scene.app, scene.grant["refresh_token"])
        scene.machine.refresh(scene.app, scene.grant["refresh_token"])
        assert ears.hear() == [scene.keys["family"]]
    else:
        scene.machine.revoke(scene.app, scene.grant["access_token"])
        assert sorted(ears.hear()) == sorted([scene.keys["bought"], scene.keys["family"]])


def test_an_app_that_is_deleted_is_told_of_on_every_tenant(app, world, tenant, other_tenant, make_ears):
    client = world.oauth_app(everywhere=True)
    everywhere = [(make_ears(one), one) for one in (tenant, other_tenant)]

    world.run(lambda: app_registry.delete_app(app_registry.find_app(client.client_id)))

    assert [ears.hear() for ears, _ in everywhere] == [[f"{one.id}.c{client.id}"] for _, one in everywhere]


def test_what_changes_nothing_is_not_told(scene, ears):
    def nothing():
        assert not consents.withdraw_consent(scene.tenant.id, scene.boss.id, scene.app.id, now())
        assert not app_registry.turn_off(scene.operators_app(), scene.tenant.id + 1)
        assert not people.promote(scene.tenant.id, scene.boss.id)
        people.set_language(accounts.find_user(scene.tenant.id, scene.boss.id), "de")

    scene.world.run(nothing)

    assert ears.hear() == []


class TestTheWatchOverAllTests:
    """tests/forgotten_revocations.py must see what is forgotten, or the tests prove nothing."""

    @pytest.mark.parametrize("what", ENDINGS)
    def test_it_sees_an_ending_that_nobody_tells_of(self, scene, monkeypatch, what):
        from app.revocations import feed

        for name in ("record", "record_many", "record_many_that_go"):
            monkeypatch.setattr(feed, name, lambda *_: None)
        harmless = {
            "a client may call from elsewhere", "a client gets other scopes",
            "an app is turned on again", "an app is changed", "an app is turned on everywhere",
        }  # fmt: skip
        work, _ = ENDINGS[what]

        if what in harmless:
            scene.world.run(lambda: work(scene))
            return
        with pytest.raises(ForgottenRevocation):
            scene.world.run(lambda: work(scene))

    def test_what_a_test_sends_itself_is_its_own_business(self, scene):
        scene.world.run(
            lambda: db.session.execute(update(User).where(User.tenant_id == scene.tenant.id).values(role="x"))
        )

    def test_what_is_undone_with_its_savepoint_is_not_forgotten(self, scene):
        def undo():
            savepoint = db.session.begin_nested()
            clients.revoke_all(scene.tenant.id, scene.client.pk)
            savepoint.rollback()

        scene.world.run(undo)


def test_keys_of_two_kinds_are_never_the_same():
    made = [
        keys.tenant(1), keys.client(1, 2), keys.user(1, 2), keys.consent(1, 2, 3), keys.family(1, 2),
        keys.token(1, b"\x02" * 32),
    ]  # fmt: skip
    assert len(set(made)) == len(made)
