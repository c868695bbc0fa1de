"""The keys that sign access tokens: published, replaced, kept encrypted (RFC 7517, RFC 7516)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import time_machine
from sqlalchemy import select, update

import config
from app.audit.models import AuditEvent
from app.extensions import db
from app.signing import keys, store
from app.signing.models import SigningKey
from app.signing.ring import Ring, RingMemory
from app.tenants import registry as tenants
from app.tokens import janitor
from tests.databases import SECRET_KEY, close, make_app
from tests.jwt import check_offline, parts_of, published
from tests.shell import Shell
from tests.test_operation import problems
from tests.world import Machine, World, now

METADATA = "/.well-known/oauth-authorization-server"
HOUR, DAY = 3600, 86_400
OTHER_KEY = "another-key-for-tests-that-is-long-enough"


@pytest.fixture
def tenant(world):
    return world.tenant("acme", name="Acme", token_format="jwt")


@pytest.fixture
def token(machine, api_client):
    return machine.token(api_client)


def kid_of(token: str) -> str:
    return str(parts_of(token)[0]["kid"])


def rows(world, tenant) -> list[Any]:
    def read():
        statement = select(SigningKey).where(SigningKey.tenant_id == tenant.id).order_by(SigningKey.number)
        return list(db.session.scalars(statement.execution_options(populate_existing=True)))

    return world.run(read)


def look_after(world, moment: int) -> None:
    with time_machine.travel(moment, tick=False):
        assert world.run(lambda: janitor.take_care_of_signing_keys_if_it_is_time(moment)) is True


class TestPublished:
    def test_public_members_only(self, machine, token):
        [key] = published(machine)

        assert key.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
        assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
        assert key["kid"] == kid_of(token)

    def test_public_members_of_rsa_only(self, world, tenant, machine, api_client, shell):
        shell.do("tenant", "set", "acme", "signing_algorithm", "RS256")
        machine.token(api_client)

        [key] = published(machine)

        assert key.keys() == {"kty", "n", "e", "kid", "alg", "use"}
        assert len(key["n"]) == 342  # 2048 bits

    def test_how_long_it_may_be_kept(self, machine, token):
        response = machine.open("/oauth2/jwks")

        assert response.headers["Cache-Control"] == "public, max-age=300"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        again = machine.open("/oauth2/jwks", headers={"If-None-Match": response.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")

    def test_changed_keys_have_another_etag(self, machine, token, shell):
        etag = machine.open("/oauth2/jwks").headers["ETag"]
        shell.do("tenant", "rotate-signing-key", "acme")

        assert machine.open("/oauth2/jwks", headers={"If-None-Match": etag}).status_code == 200

    def test_none_where_there_are_none(self, app, machine, other_tenant, token):
        assert published(Machine(app, other_tenant)) == []

    def test_nobodys_host_has_none(self, machine):
        response = machine.open("/oauth2/jwks", headers={"Host": "nobody.example"})

        assert (response.status_code, response.json["error"]) == (404, "not_found")

    def test_the_metadata_names_the_address_where_tokens_are_signed(self, app, world, tenant, other_tenant, machine):
        there = Machine(app, other_tenant)
        assert machine.open(METADATA).json["jwks_uri"] == f"{tenant.url}/oauth2/jwks"
        assert "jwks_uri" not in there.open(METADATA).json

        world.client(other_tenant, token_format="jwt")

        assert there.open(METADATA).json["jwks_uri"] == f"{other_tenant.url}/oauth2/jwks"

    def test_an_app_makes_it_named_unless_the_tenant_says_otherwise(self, app, world, other_tenant, shell):
        there = Machine(app, other_tenant)
        field_app = world.oauth_app(other_tenant, token_format="jwt")
        assert "jwks_uri" in there.open(METADATA).json

        shell.do("client", "set", field_app.client_id, "--tenant", "globex", "--token-format", "opaque")

        assert "jwks_uri" not in there.open(METADATA).json


class TestReplaced:
    def test_at_once(self, machine, api_client, token, shell):
        made = shell.json("tenant", "rotate-signing-key", "acme")

        after = machine.token(api_client)
        assert kid_of(after) == made["kid"] != kid_of(token)
        assert {key["kid"] for key in published(machine)} == {kid_of(token), made["kid"]}
        assert machine.works(token)
        assert check_offline(machine, token)

    def test_ahead_published_before_it_signs(self, machine, api_client, token, shell):
        made = shell.json("tenant", "rotate-signing-key", "acme", "--ahead")

        assert made["kid"] in {key["kid"] for key in published(machine)}
        assert kid_of(machine.token(api_client)) == kid_of(token)
        assert made["active_from_at"] - now() > keys.CACHED_SECONDS
        with time_machine.travel(made["active_from_at"] - 2):
            assert kid_of(machine.token(api_client)) == kid_of(token)
        with time_machine.travel(made["active_from_at"] + 2):
            assert kid_of(machine.token(api_client)) == made["kid"]
            assert machine.works(token)

    def test_at_once_while_one_is_waiting(self, machine, api_client, token, shell):
        waiting = shell.json("tenant", "rotate-signing-key", "acme", "--ahead")

        made = shell.json("tenant", "rotate-signing-key", "acme")

        with time_machine.travel(waiting["active_from_at"] + 60):
            assert kid_of(machine.token(api_client)) == made["kid"]

    def test_every_worker_hears_of_it_with_its_next_request(self, database_url, tenant, api_client, token, shell):
        other = make_app(database_url)
        elsewhere = Machine(other, tenant)
        assert [kid_of(elsewhere.token(api_client)) for _ in range(2)] == [kid_of(token)] * 2

        made = shell.json("tenant", "rotate-signing-key", "acme")

        assert kid_of(elsewhere.token(api_client)) == made["kid"]
        close(other)

    def test_one_that_leaked_is_gone_with_what_it_signed(self, database_url, machine, tenant, api_client, token, shell):
        other = make_app(database_url)
        elsewhere = Machine(other, tenant)
        assert elsewhere.works(token)

        made = shell.json("tenant", "rotate-signing-key", "acme", "--leaked")

        assert [key["kid"] for key in published(machine)] == [made["kid"]]
        for worker in (machine, elsewhere):
            assert not worker.works(token)
            assert worker.works(machine.token(api_client))
        assert shell.events("acme").count("tenant.signing_keys_dropped") == 1
        close(other)

    def test_it_is_gone_for_one_tenant_only(self, app, world, machine, token, shell):
        globex = world.tenant("globex", token_format="jwt")
        there = Machine(app, globex)
        theirs = there.token(world.client(globex))

        shell.do("tenant", "rotate-signing-key", "acme", "--leaked")

        assert there.works(theirs)

    def test_both_at_once_make_no_sense(self, token, shell):
        assert shell.run("tenant", "rotate-signing-key", "acme", "--ahead", "--leaked").exit_code == 2

    def test_the_later_of_two_operators_is_told(self, tenant, token, shell, monkeypatch):
        monkeypatch.setattr(store, "next_number", lambda _tenant_id: 1)

        assert shell.refusal("tenant", "rotate-signing-key", "acme").startswith("Somebody else changed this")

    def test_the_operator_sees_them(self, machine, api_client, token, shell):
        made = shell.json("tenant", "rotate-signing-key", "acme")
        ahead = shell.json("tenant", "rotate-signing-key", "acme", "--ahead")

        listed = shell.json("tenant", "signing-keys", "acme")

        expected = [(ahead["kid"], "next"), (made["kid"], "signs"), (kid_of(token), "retired")]
        assert [(key["kid"], key["state"]) for key in listed] == expected
        assert "private" not in shell.do("tenant", "signing-keys", "acme").stdout

    def test_the_audit_log_tells(self, world, tenant, token, shell):
        shell.do("tenant", "rotate-signing-key", "acme")

        def read():
            wanted = AuditEvent.event == "tenant.signing_key_made"
            return [event.actor_kind for event in db.session.scalars(select(AuditEvent).where(wanted))]

        assert sorted(world.run(read)) == ["operator", "system"]


class TestCare:
    def test_one_that_is_ninety_days_old_is_replaced_ahead(self, world, machine, tenant, api_client, token):
        begun = rows(world, tenant)[0].active_from
        look_after(world, begun + 90 * DAY - HOUR)
        assert len(rows(world, tenant)) == 1

        look_after(world, begun + 90 * DAY)

        old, new = rows(world, tenant)
        assert new.active_from == old.retires_at == begun + 90 * DAY + keys.AHEAD_SECONDS
        with time_machine.travel(begun + 90 * DAY + 60):
            assert kid_of(machine.token(api_client)) == old.kid
            assert {key["kid"] for key in published(machine)} == {old.kid, new.kid}
        with time_machine.travel(new.active_from + 1):
            assert kid_of(machine.token(api_client)) == new.kid
        look_after(world, begun + 90 * DAY + HOUR)
        assert len(rows(world, tenant)) == 2

    def test_the_deployment_says_after_how_many_days_or_never(self, database_url, world, tenant, token):
        begun = rows(world, tenant)[0].active_from
        never = make_app(database_url, SIGNING_KEY_DAYS=0)
        look_after(World(never), begun + 1000 * DAY)
        assert len(rows(world, tenant)) == 1

        weekly = make_app(database_url, SIGNING_KEY_DAYS=7)
        look_after(World(weekly), begun + 1000 * DAY + HOUR)
        assert len(rows(world, tenant)) == 2
        close(never)
        close(weekly)

    def test_one_that_retired_stays_until_its_last_token_is_over(self, world, machine, tenant, token, shell):
        shell.do("tenant", "rotate-signing-key", "acme")
        old = rows(world, tenant)[0]

        look_after(world, old.retires_at + keys.PUBLISHED_SECONDS - 1)
        with time_machine.travel(old.retires_at + keys.PUBLISHED_SECONDS - 5):
            assert old.kid in {key["kid"] for key in published(machine)}

        look_after(world, old.retires_at + keys.PUBLISHED_SECONDS + HOUR)
        assert [row.number for row in rows(world, tenant)] == [2]

    def test_it_is_not_published_longer_though_nobody_cleared_it_away(self, world, machine, tenant, token, shell):
        shell.do("tenant", "rotate-signing-key", "acme")
        old = rows(world, tenant)[0]

        with time_machine.travel(old.retires_at + keys.PUBLISHED_SECONDS + 5):
            assert old.kid not in {key["kid"] for key in published(machine)}

    def test_its_private_part_is_erased_before(self, world, machine, tenant, token, shell):
        shell.do("tenant", "rotate-signing-key", "acme")
        old = rows(world, tenant)[0]

        look_after(world, old.retires_at + HOUR)

        assert [row.private_part is None for row in rows(world, tenant)] == [True, False]

    def test_no_setting_makes_tokens_outlive_their_key(self):
        assert config.MOST_JWT_LIFETIME <= keys.PUBLISHED_SECONDS - keys.CACHED_SECONDS

    def test_one_worker_of_all_does_it(self, database_url, world, token):
        other = make_app(database_url)
        moment = now()

        def take_care():
            return janitor.take_care_of_signing_keys_if_it_is_time(moment)

        assert [world.run(take_care), World(other).run(take_care), world.run(take_care)] == [True, False, False]
        close(other)

    def test_a_key_that_cannot_be_read_is_left_and_the_next_tenants_is_cared_for(
        self, database_url, app, world, tenant, token, caplog
    ):
        globex = world.tenant("globex", token_format="jwt")
        Machine(app, globex).token(world.client(globex))
        world.run(lambda: db.session.execute(
            update(SigningKey).where(SigningKey.tenant_id == tenant.id).values(private_part="x.x.x.x.x")
        ))  # fmt: skip
        begun = rows(world, globex)[0].active_from

        look_after(world, begun + 91 * DAY)

        assert (len(rows(world, tenant)), len(rows(world, globex))) == (1, 2)
        assert "cannot be read" in caplog.text

    def test_the_keys_go_with_their_tenant(self, world, tenant, token, shell):
        shell.do("tenant", "delete", "acme", "--yes")

        assert rows(world, tenant) == []


class TestKeptEncrypted:
    def test_nothing_private_is_in_the_database(self, world, tenant, token):
        [row] = rows(world, tenant)

        assert row.private_part.count(".") == 4
        assert row.private_part.partition(".")[0] == "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0"
        assert "d" not in json.loads(row.public_part)

    def test_another_row_cannot_be_opened_with_what_was_copied(self, app, world, machine, api_client, tenant, token):
        globex = world.tenant("globex", token_format="jwt")
        there, client = Machine(app, globex), world.client(globex)
        there.token(client)
        [own], [theirs] = rows(world, tenant), rows(world, globex)
        assert own.kid != theirs.kid

        world.run(lambda: db.session.execute(
            update(SigningKey).where(SigningKey.tenant_id == globex.id).values(private_part=own.private_part)
        ))  # fmt: skip
        world.run(lambda: tenants.note_change(globex.id))

        assert there.request_token(client).status_code == 503

    @pytest.fixture
    def with_new_secret(self, database_url, token):
        """A deployment with a new SECRET_KEY; the one before is forgotten, or among the fallbacks."""
        made = []

        def start(*fallbacks: str):
            made.append(make_app(database_url, SECRET_KEY=OTHER_KEY, SECRET_KEY_FALLBACKS=fallbacks))
            return made[-1]

        yield start
        for app in made:
            close(app)

    def test_a_former_secret_key_opens_it(self, with_new_secret, tenant, api_client, token):
        machine = Machine(with_new_secret(SECRET_KEY), tenant)

        assert kid_of(machine.token(api_client)) == kid_of(token)

    def test_it_is_kept_with_the_new_one_within_an_hour(self, with_new_secret, world, tenant, api_client, token):
        both = with_new_secret(SECRET_KEY)
        found = {check["check"]: check for check in Shell(both).json("doctor")["checks"]}
        assert (found["signing keys"]["status"], found["signing keys"]["message"][:6]) == ("warning", "1 of 1")

        look_after(World(both), now())

        new = with_new_secret()
        assert kid_of(Machine(new, tenant).token(api_client)) == kid_of(token)
        found = {check["check"]: check for check in Shell(both).json("doctor")["checks"]}
        assert (found["signing keys"]["status"], found["signing keys"]["message"]) == ("ok", "1")

    def test_without_it_there_is_no_token_and_the_log_says_why(
        self, with_new_secret, world, tenant, api_client, token, caplog
    ):
        machine = Machine(with_new_secret(), tenant)

        response = machine.request_token(api_client)

        assert (response.status_code, response.headers["Retry-After"]) == (503, "60")
        assert response.json == {
            "error": "temporarily_unavailable",
            "error_description": "Tokens cannot be signed at the moment. "
            "The operator of this server has to look into its log.",
            "error_uri": f"{tenant.url}/developers#temporarily_unavailable",
        }
        assert "flask tenant rotate-signing-key acme" in caplog.text
        assert "Traceback" not in caplog.text
        assert machine.works(token), "the public part is enough to check what was signed"
        assert len(machine.token(world.client(tenant, token_format="opaque"))) == 40

    def test_the_doctor_and_the_list_say_so_and_a_new_key_helps(self, with_new_secret, tenant, api_client, token):
        app = with_new_secret()
        shell = Shell(app)
        [problem] = problems(shell)
        assert problem.startswith("problem  signing keys: 1 of 1 cannot be read.")
        assert [key["state"] for key in shell.json("tenant", "signing-keys", "acme")] == ["unreadable"]

        shell.do("tenant", "rotate-signing-key", "acme")

        machine = Machine(app, tenant)
        assert machine.works(machine.token(api_client))
        assert machine.works(token)

    def test_a_process_without_a_secret_key_makes_none(self, database_url, world, tenant, token):
        app = make_app(database_url, SECRET_KEY=OTHER_KEY, problems=("SECRET_KEY is missing or too short.",))

        refusal = Shell(app).refusal("tenant", "rotate-signing-key", "acme")
        look_after(World(app), now() + 91 * DAY)

        assert refusal == "There is no SECRET_KEY to keep the key with. Set it."
        assert len(rows(world, tenant)) == 1
        close(app)


class TestMemory:
    def test_it_is_bounded(self, tenant):
        memory = RingMemory(most=2)
        known = [_settings(number) for number in range(3)]
        for settings in known:
            memory.remember(settings.id, Ring(settings.version, ()))

        assert [memory.find(settings) is not None for settings in known] == [False, True, True]

    def test_it_belongs_to_one_version_of_the_tenant(self, tenant):
        memory = RingMemory()
        memory.remember(1, Ring(7, ()))

        assert memory.find(_settings(1, version=7)) is not None
        assert memory.find(_settings(1, version=8)) is None


def _settings(number: int, version: int = 0) -> Any:
    class Settings:
        id = number

    Settings.version = version  # type: ignore[attr-defined]
    return Settings


class TestStoredPerTenant:
    """Two tenants for every function of the store."""

    @pytest.fixture
    def both(self, app, world, tenant, machine, api_client, token):
        globex = world.tenant("globex", token_format="jwt")
        Machine(app, globex).token(world.client(globex))
        return tenant, globex

    @pytest.mark.parametrize(
        "change",
        [
            lambda mine, row: store.forget_private_parts(mine, 2**40),
            lambda mine, row: store.delete_retired(mine, 2**40),
            lambda mine, row: store.delete_all_but(mine, "none"),
            lambda mine, row: store.reseal(mine, row.kid, row.private_part, "sealed anew"),
        ],
    )
    def test_a_change_of_the_one_leaves_the_other(self, world, both, change):
        mine, other = both
        world.run(lambda: db.session.execute(update(SigningKey).values(retires_at=1)))
        before = [(row.kid, row.private_part) for row in rows(world, other)]
        [row] = rows(world, mine)

        world.run(lambda: change(mine.id, row))

        assert [(row.kid, row.private_part) for row in rows(world, other)] == before
        assert [(changed.kid, changed.private_part) for changed in rows(world, mine)] != [(row.kid, row.private_part)]

    def test_each_reads_and_counts_its_own(self, world, both):
        for tenant in both:
            _, found = world.run(lambda tenant=tenant: store.read_keys(tenant.id))
            assert [key.tenant_id for key in found] == [tenant.id]
            assert world.run(lambda tenant=tenant: store.next_number(tenant.id)) == 2

    def test_a_sealed_part_that_somebody_else_changed_stays(self, world, both):
        mine, _ = both
        [row] = rows(world, mine)

        world.run(lambda: store.reseal(mine.id, row.kid, "what it was before", "mine"))

        assert rows(world, mine)[0].private_part == row.private_part
