"""Tokens, codes and consents: every function of the stores keeps two tenants apart, and dead things stay dead."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from app import credentials
from app.accounts import registry as accounts
from app.clients import registry
from app.extensions import db, new_id
from app.tenants import registry as tenants
from app.tokens import assertions, codes, consents, families, retention, store
from app.tokens.models import AccessToken, AuthorizationCode, Consent, RefreshToken
from tests.world import now

YEAR = 31_536_000


class Side:
    """One of the two tenants: an API client, an app, a person, a consent, a token of each kind and a code."""

    def __init__(self, world, tenant, field_app):
        self.tenant_id = tenant.id
        self.api_client = world.client(tenant, "same-id")
        self.user = world.user(tenant, "ux@example.com")
        self.field_app = field_app
        self.made_at = now()
        self.token, self.user_token, self.code, self.spent_code = world.run(self._issue)

    @property
    def pk(self):
        return self.api_client.pk

    @property
    def app_pk(self):
        return self.field_app.id

    def client(self):
        return registry.find_registered_client(self.tenant_id, self.api_client.client_id, now())

    def _issue(self):
        client = self.client()
        app_client = registry.find_registered_client(self.tenant_id, self.field_app.client_id, now())
        consents.give_consent(self.tenant_id, self.user.id, self.app_pk, scope="", now=self.made_at)
        token, user_token = (store.new_token(self.made_at + YEAR) for _ in range(2))
        store.save_client_token(client, token, scope="", now=self.made_at)
        made = [self.issue_code(app_client) for _ in range(2)]
        found = codes.find_code(self.tenant_id, self.app_pk, made[1])
        self.family_id = new_id()
        families.begin_family(
            self.family_id,
            app_client,
            found,
            scope="",
            resource="",
            now=self.made_at,
            expires_at=self.made_at + YEAR,
            purge_at=self.made_at + YEAR,
        )
        self.refresh_token, self.spent_refresh_token = (self.add_refresh_token() for _ in range(2))
        families.spend_refresh_token(self.tenant_id, credentials.digest(self.spent_refresh_token), self.made_at)
        store.save_user_token(
            app_client, found, user_token, scope="", resource="", family_id=self.family_id, now=self.made_at
        )
        assert codes.spend_code(self.tenant_id, found.digest, user_token, self.family_id, self.made_at)
        return token, user_token, *made

    def name_a_token(self):
        """Make one as a person does; returns when it expires."""
        token = store.new_token(now() + 100)
        store.save_client_token(self.client(), token, scope="", now=now(), name="Report", made_by="Ana")
        return token.expires_at

    def add_refresh_token(self):
        later = self.made_at + YEAR
        return families.add_refresh_token(
            self.tenant_id, self.family_id, now=self.made_at, expires_at=later, family_expires_at=later
        )

    def issue_code(self, app_client):
        user = accounts.find_user(self.tenant_id, self.user.id)
        return codes.issue_code(
            app_client,
            user=user,
            consent_generation=0,
            redirect_uri=None,
            scope="",
            resource="",
            code_challenge=None,
            now=self.made_at,
        )

    def is_alive(self, token):
        checked = store.check_token(self.tenant_id, token.text, now())
        return checked is not None and checked.refused_because is None


@pytest.fixture
def sides(world, tenant, other_tenant):
    field_app = world.oauth_app(tenant, other_tenant, refresh_tokens=True)
    return SimpleNamespace(a=Side(world, tenant, field_app), b=Side(world, other_tenant, field_app))


#: For each function: the call by tenant A with what belongs to B, and what it answers. B is then checked untouched.
TWO_TENANTS = {
    codes.find_code: (lambda a, b: codes.find_code(a, b.app_pk, b.code), None),
    codes.spend_code: (lambda a, b: codes.spend_code(a, credentials.digest(b.code), b.token, None, now()), False),
    codes.revoke_what_the_code_bought: (
        lambda a, b: codes.revoke_what_the_code_bought(a, credentials.digest(b.spent_code), now()),
        False,
    ),
    assertions.use_assertion: (lambda a, b: assertions.use_assertion(a, b.pk, "one", now()), False),
    families.find_refresh_token: (lambda a, b: families.find_refresh_token(a, b.refresh_token), None),
    families.spend_refresh_token: (
        lambda a, b: families.spend_refresh_token(a, credentials.digest(b.refresh_token), now()),
        False,
    ),
    families.end_family: (lambda a, b: families.end_family(a, b.family_id, now()), False),
    families.revoke_refresh_token: (
        lambda a, b: families.revoke_refresh_token(a, b.app_pk, b.refresh_token, now()),
        False,
    ),
    store.check_token: (lambda a, b: store.check_token(a, b.token.text, now()), None),
    store.revoke_token: (lambda a, b: store.revoke_token(a, b.pk, b.token.expiry_month, b.token.digest, now()), False),
    store.list_live_tokens: (lambda a, b: store.list_live_tokens(a, b.pk, now(), self_made=True), []),
    store.find_live_token: (
        lambda a, b: store.find_live_token(a, b.pk, b.token.expiry_month, b.token.digest, now()),
        None,
    ),
    store.count_live_tokens: (lambda a, b: store.count_live_tokens(a, [b.pk], now()), {}),
    store.count_before_one_more: (lambda a, b: b.name_a_token() and store.count_before_one_more(a, b.pk, now()), 0),
    store.list_expiring_tokens: (
        lambda a, b: [token.client_pk for token in store.list_expiring_tokens(a, now(), b.name_a_token())],
        [],
    ),
    store.clients_with_expiring_tokens: (
        lambda a, b: list(db.session.scalars(store.clients_with_expiring_tokens(a, now(), b.name_a_token()))),
        [],
    ),
    consents.find_consent: (lambda a, b: consents.find_consent(a, b.user.id, b.app_pk), None),
    consents.withdraw_consent: (lambda a, b: consents.withdraw_consent(a, b.user.id, b.app_pk, now()), False),
    consents.withdraw_consents: (lambda a, b: consents.withdraw_consents(a, b.user.id, [b.app_pk], now()), set()),
    consents.list_connections: (lambda a, b: consents.list_connections(a, b.user.id), []),
    consents.find_connection: (lambda a, b: consents.find_connection(a, b.user.id, b.app_pk), None),
    retention.purge: (lambda a, b: retention.purge(a, now() - 2 * YEAR), 0),
    retention.purge_deleted_tenant: (lambda a, b: retention.purge_deleted_tenant(7), 0),
}

#: These write rows for whoever is named; the foreign keys refuse what is not the tenant's own.
REFUSED_BY_THE_DATABASE = {consents.give_consent, families.add_refresh_token}

#: They carry out a statement of the others here, which the isolation guard reads too, and tell readers of the feed.
WITH_A_STATEMENT = {store.end_tokens, store.end_families}


def functions_about_tenants():
    for module in (store, codes, assertions, families, consents, retention):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                parameters = list(inspect.signature(function).parameters)
                if parameters[:1] == ["tenant_id"]:
                    yield function


def test_every_function_about_a_tenant_is_tried_with_two():
    assert set(functions_about_tenants()) == set(TWO_TENANTS) | REFUSED_BY_THE_DATABASE | WITH_A_STATEMENT


def test_no_function_reaches_into_another_tenant(app, sides):
    a, b = sides.a, sides.b
    for function, (call, expected) in TWO_TENANTS.items():
        with app.app_context():
            assert call(a.tenant_id, b) == expected, function.__name__
            db.session.commit()
        with app.app_context():
            assert b.is_alive(b.token), function.__name__
            assert b.is_alive(b.user_token), function.__name__
            assert codes.find_code(b.tenant_id, b.app_pk, b.code).spent_at is None, function.__name__
            assert families.find_refresh_token(b.tenant_id, b.refresh_token).is_alive(now()), function.__name__
            assert not consents.find_consent(b.tenant_id, b.user.id, b.app_pk).is_withdrawn, function.__name__


def test_every_one_of_them_works_at_home(app, sides):
    """The same calls with the right tenant: none of the refusals above is for another reason."""
    b = sides.b
    for function, (call, refused) in TWO_TENANTS.items():
        if function in {retention.purge, retention.purge_deleted_tenant}:
            continue
        with app.app_context():
            assert call(b.tenant_id, b) != refused, function.__name__
            db.session.rollback()


def test_nobody_consents_for_a_person_of_another_tenant(app, sides):
    a, b = sides.a, sides.b
    with app.app_context(), pytest.raises(IntegrityError):
        consents.give_consent(a.tenant_id, b.user.id, a.app_pk, scope="", now=now())
    with app.app_context(), pytest.raises(IntegrityError):
        consents.give_consent(a.tenant_id, a.user.id, b.pk, scope="", now=now())


def test_a_refresh_token_belongs_to_a_family_of_its_own_tenant(app, sides):
    with app.app_context(), pytest.raises(IntegrityError):
        families.add_refresh_token(
            sides.a.tenant_id, sides.b.family_id, now=now(), expires_at=now() + 9, family_expires_at=now() + 9
        )


def test_only_digests_are_kept(app, sides):
    texts = [sides.a.token.text, sides.a.user_token.text, sides.a.code, sides.a.spent_code, sides.a.refresh_token]
    with app.app_context():
        for table in (AccessToken, AuthorizationCode, RefreshToken):
            for row in db.session.execute(select(table.__table__)):
                assert not [text for text in texts if text in str(row) or text.encode().hex() in str(row)]
        tokens = db.session.scalars(select(AccessToken).where(AccessToken.tenant_id == sides.a.tenant_id)).all()
    assert sorted(token.hint for token in tokens) == sorted(
        f"{token.text[:9]}...{token.text[-4:]}" for token in (sides.a.token, sides.a.user_token)
    )


class TestCodes:
    def test_a_code_is_spent_once(self, app, sides):
        a = sides.a
        with app.app_context():
            digest = credentials.digest(a.code)
            assert codes.spend_code(a.tenant_id, digest, a.token, None, 5)
            assert not codes.spend_code(a.tenant_id, digest, a.user_token, None, 6)
            found = codes.find_code(a.tenant_id, a.app_pk, a.code)
            assert (found.spent_at, found.token_digest) == (5, a.token.digest)

    def test_another_client_of_the_tenant_does_not_find_it(self, app, sides):
        with app.app_context():
            assert codes.find_code(sides.a.tenant_id, sides.a.pk, sides.a.code) is None

    def test_what_it_bought_is_revoked_once_and_nothing_else(self, app, sides):
        a = sides.a
        with app.app_context():
            digest = credentials.digest(a.spent_code)
            assert codes.revoke_what_the_code_bought(a.tenant_id, digest, now())
            assert not codes.revoke_what_the_code_bought(a.tenant_id, digest, now())
            assert not codes.revoke_what_the_code_bought(a.tenant_id, credentials.digest(a.code), now())
            assert not a.is_alive(a.user_token)
            assert a.is_alive(a.token)

    def test_it_is_current_only_while_nothing_behind_it_changed(self, app, sides):
        a = sides.a

        def is_current():
            return codes.find_code(a.tenant_id, a.app_pk, a.code).is_current

        for change in [
            lambda: registry.revoke_all(a.tenant_id, a.app_pk),
            lambda: accounts.disable_user(a.tenant_id, a.user.id),
            lambda: accounts.set_password(a.tenant_id, a.user.id, "another good password"),
            lambda: consents.withdraw_consent(a.tenant_id, a.user.id, a.app_pk, now()),
            lambda: tenants.suspend(tenants.find_by_slug("acme")),
        ]:
            with app.app_context():
                assert is_current()
                change()
                assert not is_current()
                db.session.rollback()


class TestLiveTokens:
    def test_they_are_listed_newest_first_by_who_made_them(self, app, sides):
        a = sides.a
        with app.app_context():
            made = [store.new_token(now() + YEAR) for _ in range(3)]
            for age, token in enumerate(made):
                store.save_client_token(
                    a.client(), token, scope="", now=now() - 100 * age, name="Report", made_by="Ana"
                )
            listed = store.list_live_tokens(a.tenant_id, a.pk, now(), self_made=False)
            assert [token.digest for token in listed] == [token.digest for token in made]
            page = store.list_live_tokens(
                a.tenant_id, a.pk, now(), self_made=False, after=(listed[0].created_at, listed[0].digest), most=1
            )
            assert [token.digest for token in page] == [made[1].digest]
            own = store.list_live_tokens(a.tenant_id, a.pk, now(), self_made=True)
            assert [token.digest for token in own] == [a.token.digest]
            counted = store.count_live_tokens(a.tenant_id, [a.pk], now())[a.pk]
            assert (counted.by_people, counted.self_made, counted.is_all) == (3, 1, True)
            assert counted.next_expiry == min(token.expires_at for token in listed)
            assert store.count_live_tokens(a.tenant_id, [], now()) == {}

    def test_those_of_one_second_come_once_each_however_small_the_pages_are(self, app, sides):
        a, moment = sides.a, now()
        with app.app_context():
            made = [store.new_token(moment + YEAR) for _ in range(7)]
            for token in made:
                store.save_client_token(a.client(), token, scope="", now=moment + 5, name="Report", made_by="Ana")
            seen, after = [], None
            while page := store.list_live_tokens(a.tenant_id, a.pk, moment, self_made=False, after=after, most=3):
                seen += [token.digest for token in page]
                after = (page[-1].created_at, page[-1].digest)
            assert sorted(seen[:7]) == sorted(token.digest for token in made)
            assert len(seen) == len(set(seen))

    def test_counting_stops_and_says_so(self, app, sides):
        a = sides.a
        with app.app_context():
            for _ in range(4):
                store.save_client_token(a.client(), store.new_token(now() + YEAR), scope="", now=now() + 1)
            assert store.count_live_tokens(a.tenant_id, [a.pk], now(), most=6)[a.pk].is_all
            few = store.count_live_tokens(a.tenant_id, [a.pk], now(), most=3)[a.pk]
            assert (few.self_made, few.is_all) == (3, False)
            registry.revoke_all(a.tenant_id, a.pk)
            gone = store.count_live_tokens(a.tenant_id, [a.pk], now(), most=3)[a.pk]
            assert (gone.count, gone.is_all) == (0, False)

    def test_those_that_expire_soon_are_named_unless_they_are_over_or_their_client_is_off(self, app, sides):
        a = sides.a
        with app.app_context():
            for name, lives, by in [("b", 200, "Ana"), ("a", 100, "Ana"), ("late", 400, "Ana"), ("own", 50, None)]:
                token = store.new_token(now() + lives)
                store.save_client_token(a.client(), token, scope="", now=now(), name=name, made_by=by)

            def soon():
                return [token.name for token in store.list_expiring_tokens(a.tenant_id, now(), now() + 300)]

            def clients():
                return list(db.session.scalars(store.clients_with_expiring_tokens(a.tenant_id, now(), now() + 300)))

            assert soon() == ["a", "b"]
            assert set(clients()) == {a.pk}
            registry.disable(registry.find_api_client(a.tenant_id, a.pk))
            assert soon() == []
            registry.enable(registry.find_api_client(a.tenant_id, a.pk))
            registry.revoke_all(a.tenant_id, a.pk)
            assert (soon(), clients()) == ([], [])

    @pytest.mark.parametrize("end", ["expired", "revoked", "all revoked", "suspended"])
    def test_dead_ones_are_not(self, app, sides, end):
        a = sides.a
        ends = {
            "expired": lambda: None,
            "revoked": lambda: store.revoke_token(a.tenant_id, a.pk, a.token.expiry_month, a.token.digest, now()),
            "all revoked": lambda: registry.revoke_all(a.tenant_id, a.pk),
            "suspended": lambda: tenants.suspend(tenants.find_by_slug("acme")),
        }
        moment = a.made_at + YEAR if end == "expired" else now()
        with app.app_context():
            ends[end]()
            assert store.list_live_tokens(a.tenant_id, a.pk, moment, self_made=True) == []
            assert store.find_live_token(a.tenant_id, a.pk, a.token.expiry_month, a.token.digest, moment) is None
            assert store.count_live_tokens(a.tenant_id, [a.pk], moment)[a.pk].count == 0

    def test_a_token_is_revoked_by_its_own_client_and_once(self, app, sides):
        a = sides.a
        with app.app_context():
            assert not store.revoke_token(a.tenant_id, a.app_pk, a.token.expiry_month, a.token.digest, now())
            assert store.revoke_token(a.tenant_id, a.pk, a.token.expiry_month, a.token.digest, now())
            assert not store.revoke_token(a.tenant_id, a.pk, a.token.expiry_month, a.token.digest, now())

    def test_a_token_that_races_with_revoke_all_is_born_dead(self, app, sides):
        a = sides.a
        with app.app_context():
            client, token = a.client(), store.new_token(now() + YEAR)
            registry.revoke_all(a.tenant_id, a.pk)
            store.save_client_token(client, token, scope="", now=now())
            assert not a.is_alive(token)


class TestConsents:
    def test_an_empty_one_covers_everything_and_only_it_covers_nothing_named(self):
        everything, some = Consent(scope=""), Consent(scope="a b")
        cases = [("", True, False), ("a", True, True), ("b a", True, True), ("a c", True, False), ("ab", True, False)]
        for scope, by_everything, by_some in cases:
            assert consents.covers(everything, scope) is by_everything
            assert consents.covers(some, scope) is by_some
            assert consents.covers(None, scope) is False

    def give(self, side, scope, **more):
        return consents.give_consent(side.tenant_id, side.user.id, side.pk, scope=scope, now=5, **more)

    def test_giving_more_widens_and_giving_less_takes_nothing_away(self, app, sides):
        with app.app_context():
            for scope, held in [("a", "a"), ("a", "a"), ("b", "a b"), ("b", "a b"), ("", ""), ("a", "")]:
                assert self.give(sides.a, scope).scope == held
            db.session.commit()
            rows = db.session.scalar(select(func.count()).where(Consent.client_pk == sides.a.pk))
            assert rows == 1

    def test_one_given_again_is_what_was_asked_for_now(self, app, sides):
        a = sides.a
        with app.app_context():
            self.give(a, "a b", pre_approved=True)
            assert consents.withdraw_consent(a.tenant_id, a.user.id, a.pk, 6)
            assert not consents.withdraw_consent(a.tenant_id, a.user.id, a.pk, 6)
            withdrawn = consents.find_consent(a.tenant_id, a.user.id, a.pk)
            assert withdrawn.is_withdrawn
            assert not consents.covers(withdrawn, "")
            again = self.give(a, "c")
            assert (again.scope, again.generation, again.withdrawn_at, again.pre_approved) == ("c", 1, None, False)

    def test_tokens_of_before_stay_dead(self, app, sides):
        a = sides.a
        with app.app_context():
            assert consents.withdraw_consent(a.tenant_id, a.user.id, a.app_pk, now())
            assert not a.is_alive(a.user_token)
            consents.give_consent(a.tenant_id, a.user.id, a.app_pk, scope="", now=now())
            assert not a.is_alive(a.user_token)
            assert a.is_alive(a.token)

    def test_a_connected_app_is_listed_until_it_is_removed(self, app, sides):
        a = sides.a
        with app.app_context():
            [connection] = consents.list_connections(a.tenant_id, a.user.id)
            assert (connection.app_name, connection.publisher) == ("Field App", "Field Inc.")
            assert consents.find_connection(a.tenant_id, a.user.id, connection.ref) == connection
            assert consents.find_connection(a.tenant_id, a.user.id, connection.ref + 1) is None
            consents.withdraw_consent(a.tenant_id, a.user.id, connection.ref, now())
            assert consents.list_connections(a.tenant_id, a.user.id) == []


class TestRetention:
    def test_what_is_over_goes_in_batches_and_nothing_else(self, app, sides):
        a, b = sides.a, sides.b
        later = a.made_at + YEAR
        with app.app_context():
            for _ in range(3):
                store.save_client_token(a.client(), store.new_token(later), scope="", now=now())
            lasting = store.new_token(later + 1)
            store.save_client_token(a.client(), lasting, scope="", now=now())
            batches = []
            while removed := retention.purge(a.tenant_id, later, batch=2):
                batches.append(removed)
            # Two tokens, two codes, a chain of two and its family; two tokens; one token.
            assert batches == [7, 2, 1]
            left = db.session.execute(select(AccessToken.tenant_id, AccessToken.digest)).all()
            assert {tuple(row) for row in left} == {
                (a.tenant_id, lasting.digest),
                (b.tenant_id, b.token.digest),
                (b.tenant_id, b.user_token.digest),
            }

    def test_a_spent_code_is_remembered_for_a_day_after_its_end(self, app, sides):
        a = sides.a
        over = a.made_at + codes.CODE_SECONDS + retention.SPENT_CODE_SECONDS
        with app.app_context():
            assert retention.purge(a.tenant_id, over - 1) == 0
            assert retention.purge(a.tenant_id, over) == 2

    def test_a_deleted_tenants_tokens_are_found_and_go(self, app, sides):
        a, b = sides.a, sides.b
        with app.app_context():
            assert retention.purge_deleted_tenant(a.tenant_id) == 0, "the tenant is there"
            tenants.delete_tenant(tenants.find_by_slug("acme"))
            db.session.commit()
            assert self.tenants_with_tokens() == sorted([a.tenant_id, b.tenant_id])
            assert retention.purge_deleted_tenant(a.tenant_id, batch=1) == 1
            assert retention.purge_deleted_tenant(a.tenant_id) == 1
            assert retention.purge_deleted_tenant(a.tenant_id) == 0
            assert self.tenants_with_tokens() == [b.tenant_id]
            assert b.is_alive(b.token)

    def tenants_with_tokens(self):
        found = [0]
        while (following := retention.next_tenant_with_tokens(found[-1])) is not None:
            found.append(following)
        return found[1:]


def test_a_check_says_why_to_the_log_only(app, sides):
    a = sides.a

    def reason(token=a.user_token, moment=None):
        return store.check_token(a.tenant_id, token.text, moment or now()).refused_because

    with app.app_context():
        assert reason() is None
        assert reason(moment=a.made_at + YEAR) == "token_expired"
        for change, why in [
            (
                lambda: store.revoke_token(
                    a.tenant_id, a.app_pk, a.user_token.expiry_month, a.user_token.digest, now()
                ),
                "token_revoked",
            ),
            (lambda: tenants.suspend(tenants.find_by_slug("acme")), "tenant_changed"),
            (lambda: registry.revoke_all(a.tenant_id, a.app_pk), "client_revoked"),
            (lambda: accounts.disable_user(a.tenant_id, a.user.id), "user_changed"),
            (lambda: consents.withdraw_consent(a.tenant_id, a.user.id, a.app_pk, now()), "consent_withdrawn"),
            (
                lambda: db.session.execute(update(AccessToken).values(consent_generation=None)),
                "consent_withdrawn",
            ),
            (lambda: db.session.execute(update(AccessToken).values(user_generation=None)), "user_changed"),
        ]:
            change()
            assert reason() == why
            db.session.rollback()
