"""Registering API clients: IDs, secrets, and two people who do it at once. On both engines."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select

from app import credentials
from app.clients import app_registry, registry, rules
from app.clients.models import App, Client
from app.clients.rules import ClientError
from app.extensions import db
from tests.world import now

GOOD_SECRET = "our-own-Secret_2026.for~BI"


def together(app, works):
    """Run ``works`` at once, each in a thread with a session of its own; what they returned or raised."""
    barrier = threading.Barrier(len(works), timeout=30)
    results: list[object] = [None] * len(works)

    def run(index, work):
        with app.app_context():
            try:
                barrier.wait()
                results[index] = work()
                db.session.commit()
            except Exception as error:
                db.session.rollback()
                results[index] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def create(tenant_id, client_id, **more):
    secret = rules.generate_secret()
    return registry.create_api_client(
        tenant_id,
        client_id=client_id,
        secret=secret.stored,
        **{"name": "Power BI", "created_by": "Ana", "now": 1, **more},
    )


def test_an_id_is_taken_once_per_tenant(app, world, tenant, other_tenant):
    world.client(tenant, "powerbi")

    with app.app_context(), pytest.raises(ClientError, match="taken"):
        create(tenant.id, "powerbi")
    assert world.client(other_tenant, "powerbi")
    assert world.client(tenant, "PowerBI")


def test_after_a_refusal_the_transaction_goes_on(app, world, tenant):
    world.client(tenant, "powerbi")

    with app.app_context():
        with pytest.raises(ClientError):
            create(tenant.id, "powerbi")
        create(tenant.id, "another")
        db.session.commit()
        assert {client.client_id for client in registry.list_api_clients(tenant.id)} == {"another", "powerbi"}


def test_of_ten_who_take_one_id_at_once_one_gets_it(app, tenant):
    results = together(app, [lambda: create(tenant.id, "powerbi")] * 10)

    assert sum(isinstance(result, Client) for result in results) == 1
    assert sum(isinstance(result, ClientError) for result in results) == 9
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Client)) == 1


def test_of_two_who_change_to_one_id_at_once_one_gets_it(app, world, tenant):
    clients = [world.client(tenant), world.client(tenant)]

    def change(pk):
        return lambda: registry.change_client_id(registry.find_api_client(tenant.id, pk), "wanted")

    results = together(app, [change(client.pk) for client in clients])

    assert sorted(isinstance(result, ClientError) for result in results) == [False, True]
    assert results.count(None) == 1


def test_of_five_who_rotate_one_secret_at_once_one_does(app, world, machine, tenant, api_client):
    """All have read the client before any writes: the others must not retire a secret they never saw."""
    secrets = [rules.generate_secret() for _ in range(5)]
    barrier = threading.Barrier(5, timeout=30)

    def rotate(secret):
        def work():
            client = registry.find_api_client(tenant.id, api_client.pk)
            db.session.commit()
            barrier.wait()
            registry.rotate_secret(client, secret, overlap=3600, now=now())
            return secret

        return work

    results = together(app, [rotate(secret) for secret in secrets])

    won = [result for result in results if not isinstance(result, Exception)]
    assert len(won) == 1
    assert all(isinstance(result, ClientError) for result in results if result not in won)
    assert machine.request_token(api_client).status_code == 200
    for secret in secrets:
        response = machine.post_token(
            {
                "grant_type": "client_credentials",
                "client_id": api_client.client_id,
                "client_secret": secret.text,
            }
        )
        assert response.status_code == (200 if secret in won else 401)


def test_a_secret_cannot_come_back_at_once(app, world, tenant, api_client):
    first = rules.NewSecret(api_client.secret, credentials.store_generated(api_client.secret))
    second = rules.generate_secret()

    with app.app_context():
        client = registry.find_api_client(tenant.id, api_client.pk)
        with pytest.raises(ClientError, match="has or had"):
            registry.rotate_secret(client, first, overlap=0, now=now())
        registry.rotate_secret(client, second, overlap=0, now=now())
        for secret in (first, second):
            with pytest.raises(ClientError, match="has or had"):
                registry.rotate_secret(client, secret, overlap=0, now=now())


def test_every_change_is_seen_in_the_version(app, world, tenant, api_client):
    with app.app_context():
        client = registry.find_api_client(tenant.id, api_client.pk)
        versions = [client.version]
        for change in [
            lambda: registry.rename(client, "New", "  two   words "),
            lambda: registry.change_client_id(client, "new-id"),
            lambda: registry.rotate_secret(client, rules.generate_secret(), overlap=0, now=now()),
            lambda: registry.disable(client),
            lambda: registry.enable(client),
            lambda: registry.revoke_all(tenant.id, client.id),
        ]:
            change()
            db.session.refresh(client)
            versions.append(client.version)

        assert versions == sorted(set(versions))
        assert (client.name, client.description, client.generation) == ("New", "two words", 1)


def test_searching_finds_names_descriptions_and_ids_and_takes_no_wildcards(app, tenant):
    with app.app_context():
        create(tenant.id, "one-id", name="100% Power", description="nightly")
        create(tenant.id, "two_id", name="Tableau")
        db.session.commit()

        def found(search):
            return [client.client_id for client in registry.list_api_clients(tenant.id, search=search)]

        assert found("power") == found("NIGHT") == found("one-") == found("%") == ["one-id"]
        assert found("_") == ["two_id"]
        assert found("\\") == found("'; --") == found("sha256") == []
        assert found("") == ["one-id", "two_id"]


def test_clients_of_another_tenant_are_out_of_reach(app, world, tenant, other_tenant):
    theirs = world.client(other_tenant, "theirs")
    with app.app_context():
        assert registry.find_api_client(tenant.id, theirs.pk) is None
        assert registry.find_client_by_id(tenant.id, "theirs") is None
        assert registry.find_registered_client(tenant.id, "theirs", now()) is None
        assert registry.list_api_clients(tenant.id) == []
        registry.revoke_all(tenant.id, theirs.pk)
        registry.delete_api_client(tenant.id, theirs.pk)
        db.session.commit()
        untouched = registry.find_api_client(other_tenant.id, theirs.pk)
        assert untouched.generation == 0


class TestApps:
    def test_an_app_is_no_api_client(self, app, world, tenant):
        field_app = world.oauth_app(tenant)
        with app.app_context():
            row = registry.find_client_by_id(tenant.id, field_app.client_id)
            assert registry.find_api_client(tenant.id, row.id) is None
            assert registry.list_api_clients(tenant.id) == []
            registry.delete_api_client(tenant.id, row.id)
            assert registry.find_client_by_id(tenant.id, field_app.client_id) is not None

    def test_an_app_for_all_is_on_for_tenants_made_later(self, app, world, tenant):
        field_app = world.oauth_app(everywhere=True)
        later = world.tenant("later")
        with app.app_context():
            found = app_registry.find_app(field_app.client_id)
            assert app_registry.list_tenants_of(found) == ["acme", "later"]
            assert app_registry.turn_off(found, later.id)
            assert not app_registry.turn_off(found, later.id)
            assert app_registry.list_tenants_of(found) == ["acme"]
            app_registry.turn_on_everywhere(found, now())
            assert app_registry.list_tenants_of(found) == ["acme", "later"]

    def test_two_who_turn_an_app_on_at_once_both_may(self, app, world, tenant):
        field_app = world.oauth_app()

        results = together(
            app,
            [lambda: app_registry.turn_on(app_registry.find_app(field_app.client_id), tenant.id, now())] * 4,
        )

        assert results == [None] * 4

    def test_a_registered_app_is_read_with_its_client(self, app, world, tenant):
        public = world.oauth_app(tenant, public=True, first_party=True)
        bare = world.oauth_app(tenant, redirect_uris=[])
        native = world.oauth_app(tenant, first_party=True, redirect_uris=["com.example.app:/cb"])
        with app.app_context():
            found = registry.find_registered_client(tenant.id, public.client_id, now())
            assert (found.is_public, found.app.pkce_required, found.secrets) == (True, True, ())
            assert not found.asks_for_consent
            assert found.get_default_redirect_uri() == public.redirect_uri
            without = registry.find_registered_client(tenant.id, bare.client_id, now())
            assert without.get_default_redirect_uri() is None
            assert without.asks_for_consent
            assert not without.check_redirect_uri("")
            assert registry.find_registered_client(tenant.id, native.client_id, now()).asks_for_consent

    def test_an_api_client_has_nothing_of_an_app(self, app, tenant, api_client):
        with app.app_context():
            found = registry.find_registered_client(tenant.id, api_client.client_id, now())
        assert not found.is_public
        assert found.asks_for_consent
        assert found.get_default_redirect_uri() is None
        assert not found.check_redirect_uri("https://app.example/cb")
        assert not found.check_grant_type("authorization_code")
        assert found.get_client_id() == api_client.client_id

    def test_deleting_an_app_takes_its_clients_along(self, app, world, tenant, other_tenant):
        field_app = world.oauth_app(tenant, other_tenant)
        world.run(lambda: app_registry.delete_app(app_registry.find_app(field_app.client_id)))
        with app.app_context():
            assert db.session.scalar(select(func.count()).select_from(App)) == 0
            assert db.session.scalar(select(func.count()).select_from(Client)) == 0

    def test_a_secret_in_a_web_address_is_remembered(self, app, world):
        field_app = world.oauth_app()
        world.run(lambda: app_registry.note_secret_in_url(field_app.id, 7))
        with app.app_context():
            assert [found.secret_in_url_at for found in app_registry.list_apps()] == [7]
