"""GET /oauth2/revocations: what a resource server asks, and what it is told."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.accounts import registry as accounts
from app.clients import app_registry
from app.clients import registry as clients
from app.extensions import db
from app.revocations import feed, keys, store
from app.revocations.keys import LANES, lane_of
from app.tenants import registry as tenants
from app.tokens import janitor, retention
from tests.world import basic, now


def revoke_all(world, tenant, client):
    world.run(lambda: clients.revoke_all(tenant.id, client.pk))


def test_who_begins_is_told_where_the_feed_stands_and_nothing_that_was(world, tenant, machine, api_client):
    api = world.client(tenant, resource_server=True)
    revoke_all(world, tenant, api_client)

    response = machine.read_feed(api)

    lane = str(lane_of(tenant.id))
    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    position = response.json["lanes"][lane]["position"]
    answer = dict(response.json)
    assert answer.pop("held") >= 0
    assert position > 0
    assert answer == {
        "cursor": f"{lane}:{position}",
        "lanes": {lane: {"position": position, "oldest": 0}},
        "events": [],
        "forget": False,
        "more": False,
        "bound": 1.0,
    }


def test_what_ended_since_is_told_once_in_its_order(world, tenant, ears, api_client):
    other = world.client(tenant)
    revoke_all(world, tenant, other)
    revoke_all(world, tenant, api_client)

    assert ears.hear() == [f"{tenant.id}.c{other.pk}", f"{tenant.id}.c{api_client.pk}"]
    assert ears.hear() == []


def test_the_oldest_that_is_kept_can_be_asked_for(world, tenant, ears, api_client):
    revoke_all(world, tenant, api_client)

    answer = ears.read(after="oldest").json

    assert f"{tenant.id}.c{api_client.pk}" in [event["key"] for event in answer["events"]]
    assert [event["position"] for event in answer["events"]] == sorted(e["position"] for e in answer["events"])
    assert ears.read(after=answer["cursor"]).json["events"] == []


def of_one_lane(world):
    """Two tenants that share a counter."""
    by_lane: dict[int, object] = {}
    for number in range(LANES + 1):
        made = world.tenant(f"lane-{number}")
        other = by_lane.setdefault(lane_of(made.id), made)
        if other is not made:
            return other, made
    raise AssertionError


def test_a_tenant_hears_of_its_own_only_whoever_shares_its_lane(world, make_ears):
    one, other = of_one_lane(world)
    of_one, of_other = make_ears(one), make_ears(other)
    client = world.client(one)
    revoke_all(world, one, client)

    assert of_other.hear() == []
    assert of_one.hear() == [f"{one.id}.c{client.pk}"]
    assert of_other.cursor == of_one.cursor
    assert str(one.id) not in of_other.read(after="oldest").text


class TestWhoMayAsk:
    def test_a_client_that_is_no_resource_server_is_refused(self, machine, api_client):
        response = machine.read_feed(api_client)

        assert response.status_code == 403
        assert response.json["error"] == "unauthorized_client"
        assert response.headers["Cache-Control"] == "no-store"

    def test_who_loses_the_mark_is_refused(self, world, tenant, ears):
        world.run(lambda: clients.mark_resource_server(clients.find_api_client(tenant.id, ears.client.pk), False))

        assert ears.machine.read_feed(ears.client, after=ears.cursor).status_code == 403

    @pytest.mark.parametrize("how", ["nobody", "wrong secret", "bearer", "off"])
    def test_who_does_not_prove_who_they_are_is_refused(self, world, tenant, machine, ears, how):
        headers = basic(ears.client.client_id, ears.client.secret)
        if how == "nobody":
            headers = {}
        elif how == "wrong secret":
            headers = basic(ears.client.client_id, "kps00" + "a" * 35)
        elif how == "bearer":
            headers = {"Authorization": f"Bearer {machine.token(ears.client)}"}
        else:
            world.run(lambda: clients.disable(clients.find_api_client(tenant.id, ears.client.pk)))

        response = machine.open("/oauth2/revocations", headers=headers)

        assert response.status_code == 401
        assert response.json["error"] == "invalid_client"
        assert response.headers["WWW-Authenticate"].startswith("Basic ")

    def test_guesses_are_counted(self, machine, ears):
        wrong = basic(ears.client.client_id, "kps00" + "a" * 35)

        statuses = [machine.open("/oauth2/revocations", headers=wrong).status_code for _ in range(11)]

        assert statuses == [401] * 10 + [429]

    def test_the_secret_does_not_belong_in_the_address(self, machine, ears):
        query = f"client_id={ears.client.client_id}&client_secret={ears.client.secret}"

        response = machine.open(f"/oauth2/revocations?{query}")

        assert response.status_code == 400
        assert "Authorization header" in response.json["error_description"]

    def test_a_suspended_tenant_and_nobodys_host_answer_as_ever(self, world, tenant, machine, ears):
        world.run(lambda: tenants.suspend(tenants.find_by_id(tenant.id)))
        assert machine.read_feed(ears.client).status_code == 403

        nobody = machine.open(
            "/oauth2/revocations", headers={**basic(ears.client.client_id, ears.client.secret), "Host": "no.example"}
        )
        assert nobody.status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "after=x", "after=3", "after=99:1", "after=-1:1", "after=1:-1", "after=1:1.2", "after=:", "after=LANE:01",
        "after=LANE:99999999999999999999", "after=LANE:9223372036854775808", "after=LANE:1.LANE:1", "after=OTHER:1",
        "after=LANE:1&after=LANE:1", "wait=soon", "wait=-1", "wait=nan", "wait=inf", "wait=1e3", "wait=0.1&wait=0.1",
        "tenants=some", "tenants=all&tenants=all", "after=%00", "wait=%ff",
    ],
)  # fmt: skip
def test_a_question_that_is_none_is_refused_in_words(tenant, machine, ears, query):
    own = lane_of(tenant.id)
    query = query.replace("LANE", str(own)).replace("OTHER", str((own + 1) % LANES))

    response = machine.open(f"/oauth2/revocations?{query}", headers=basic(ears.client.client_id, ears.client.secret))

    assert response.status_code == 400, response.text
    assert response.json["error"] == "invalid_request"
    assert response.json["error_description"].endswith(".")


class TestForget:
    def test_a_place_before_what_is_kept_is_lost(self, app, world, tenant, ears, api_client):
        before = ears.cursor
        revoke_all(world, tenant, api_client)
        world.run(lambda: retention.purge_revocations(lane_of(tenant.id), now() + retention.REVOCATION_SECONDS + 1))

        answer = ears.read(after=before).json

        lane = str(lane_of(tenant.id))
        assert (answer["forget"], answer["events"]) == (True, [])
        assert answer["lanes"][lane]["oldest"] == answer["lanes"][lane]["position"]
        assert ears.read(after=answer["cursor"]).json["forget"] is False

    def test_a_place_that_the_lane_never_came_to_is_lost(self, tenant, ears):
        lane, _, position = ears.cursor.partition(":")

        ahead = ears.read(after=f"{lane}:{int(position) + 1}").json
        farthest = ears.read(after=f"{lane}:{2**63 - 1}").json

        assert ahead["forget"] is farthest["forget"] is True
        assert ahead["cursor"] == farthest["cursor"] == ears.cursor


class TestMore:
    def test_a_long_answer_is_cut_between_two_positions(self, world, tenant, ears):
        for number in range(3):
            names = [keys.user(tenant.id, number * 1000 + one) for one in range(4)]
            world.run(lambda names=names: feed.record(tenant.id, *names))
        lane = lane_of(tenant.id)
        start = int(ears.cursor.partition(":")[2])

        def read(after, most):
            return world.run(lambda: store.read(tenant.id, lane, after, most=most))

        all_of_two = read(start, 10)
        assert [one.position - start for one in all_of_two.events] == [1] * 4 + [2] * 4
        assert all_of_two.more is True
        # One position is never cut, however many there are of it.
        alone = read(start, 3)
        assert [one.position - start for one in alone.events] == [1] * 4
        assert alone.more is True
        assert read(start, 12).more is False

    def test_the_rest_follows_when_asked_for_again(self, monkeypatch, world, tenant, make_ears):
        reader = world.oauth_app(everywhere=True, resource_server=True)
        ears = make_ears(tenant, reader)
        start = ears.read(tenants="all").json["cursor"]
        places = [world.tenant(f"t{number}") for number in range(6)]
        for place in places:
            for user in range(3):
                world.run(lambda place=place, user=user: feed.record(place.id, keys.user(place.id, user)))
        whole = ears.read(tenants="all", after=start).json
        monkeypatch.setattr("app.revocations.store.read_visible.__kwdefaults__", {"most": 4})

        heard, cursor, answers = [], start, 0
        while True:
            answer = ears.read(tenants="all", after=cursor).json
            heard += answer["events"]
            assert all(one["position"] <= answer["lanes"][str(one["lane"])]["position"] for one in answer["events"])
            cursor, answers = answer["cursor"], answers + 1
            if not answer["more"]:
                break

        assert answers > 3
        assert heard == whole["events"]
        assert cursor == whole["cursor"]


class TestAllTenants:
    @pytest.fixture
    def reader(self, world):
        return world.oauth_app(everywhere=True, name="Gateway", resource_server=True)

    @pytest.fixture
    def gateway(self, world, tenant, reader, make_ears):
        """The app on all tenants, asking on one of them."""
        ears = make_ears(tenant, reader)
        ears.cursor = ears.read(tenants="all").json["cursor"]
        ears.hear = lambda: self.hear(ears)
        return ears

    @staticmethod
    def hear(ears):
        answer = ears.read(tenants="all", after=ears.cursor).json
        assert answer["forget"] is False
        ears.cursor = answer["cursor"]
        return {event["key"] for event in answer["events"]}

    def test_it_hears_of_every_tenant_that_it_is_on_for(self, world, tenant, other_tenant, gateway):
        clients_of = [(one, world.client(one)) for one in (tenant, other_tenant)]
        gateway.hear()

        for one, client in clients_of:
            revoke_all(world, one, client)

        assert gateway.hear() == {f"{one.id}.c{client.pk}" for one, client in clients_of}
        assert len(gateway.cursor.split(".")) == LANES

    def test_it_introspects_on_every_tenant_that_it_is_on_for(self, machine, api_client, reader):
        told = machine.introspect(reader, machine.token(api_client)).json

        assert told["active"] is True
        assert told["revocation"]["keys"][1].endswith(f".c{api_client.pk}")

    def test_it_hears_nothing_of_a_tenant_that_it_is_off_for_but_that_it_is(self, world, reader, other_tenant, gateway):
        client = world.client(other_tenant)
        gateway.hear()
        world.run(lambda: app_registry.turn_off(app_registry.find_app(reader.client_id), other_tenant.id))
        revoke_all(world, other_tenant, client)

        # All that it knows of the tenant's tokens is over: from here on it hears no more of them.
        assert gateway.hear() == {f"{other_tenant.id}"}
        revoke_all(world, other_tenant, client)
        assert gateway.hear() == set()

    def test_it_hears_that_a_tenant_is_gone(self, world, other_tenant, gateway):
        gateway.hear()
        world.run(lambda: tenants.delete_tenant(tenants.find_by_id(other_tenant.id)))

        assert gateway.hear() == {f"{other_tenant.id}"}

    def test_a_tenant_that_never_had_it_stays_unknown_to_it(self, world, tenant, make_ears):
        only_here = world.oauth_app(tenant, resource_server=True)
        elsewhere = world.tenant("elsewhere")
        ears = make_ears(tenant, only_here)
        ears.cursor = ears.read(tenants="all").json["cursor"]
        world.run(lambda: tenants.suspend(tenants.find_by_id(elsewhere.id)))
        revoke_all(world, elsewhere, world.client(elsewhere))

        assert self.hear(ears) == set()

    def test_its_own_tenants_feed_is_the_one_without_asking_for_all(
        self, world, tenant, other_tenant, reader, make_ears
    ):
        ears = make_ears(tenant, reader)
        revoke_all(world, other_tenant, world.client(other_tenant))

        assert ears.hear() == []
        assert ears.cursor.startswith(f"{lane_of(tenant.id)}:")

    def test_a_tenants_own_client_does_not_hear_of_others(self, ears):
        response = ears.machine.read_feed(ears.client, tenants="all")

        assert response.status_code == 403
        assert response.json["error"] == "unauthorized_client"

    def test_an_app_that_is_no_resource_server_any_more_hears_nothing(self, shell, machine, reader):
        shell.run("app", "set", reader.client_id, "--no-resource-server")

        assert machine.read_feed(reader, tenants="all").status_code == 403

    def test_an_app_that_is_off_hears_nothing(self, world, machine, reader):
        world.run(lambda: app_registry.disable(app_registry.find_app(reader.client_id)))

        assert machine.read_feed(reader, tenants="all").status_code == 401


class TestPurging:
    def test_what_is_old_goes_and_what_is_new_stays(self, app, world, tenant, ears, api_client):
        revoke_all(world, tenant, api_client)
        with app.app_context():
            db.session.execute(text("UPDATE revocation SET at = at - 7300 WHERE position > 0"))
            db.session.commit()
        revoke_all(world, tenant, api_client)
        lane = str(lane_of(tenant.id))
        with app.app_context():
            janitor.purge_everything(now())

        answer = ears.read(after="oldest").json

        position = answer["lanes"][lane]["position"]
        assert [event["position"] for event in answer["events"]] == [position]
        assert answer["lanes"][lane]["oldest"] == position - 1

    def test_it_goes_in_parts(self, app, world, tenant, ears, api_client):
        for _ in range(7):
            revoke_all(world, tenant, api_client)
        lane, later = lane_of(tenant.id), now() + 7201

        def purge():
            return world.run(lambda: retention.purge_revocations(lane, later, batch=4))

        gone: list[int] = []
        while gone[-1:] != [0]:
            gone.append(purge())

        assert max(gone) == 4
        assert len(gone) > 2
        assert ears.read(after="oldest").json["events"] == []


def test_the_metadata_names_it(machine, tenant):
    metadata = machine.open("/.well-known/oauth-authorization-server").json

    assert metadata["revocation_feed_endpoint"] == f"{tenant.url}/oauth2/revocations"


def test_a_person_hears_of_nothing(browser, admin):
    browser.sign_in(admin)

    assert browser.get("/oauth2/revocations").status_code == 401


def test_what_an_admin_does_on_a_page_is_told(world, tenant, ears, browser, admin, member):
    browser.sign_in(admin)
    browser.get("/account/apps")
    ears.hear()

    browser.post(f"/settings/members/{member.id}/turn-off")

    heard = ears.hear()
    assert heard == [f"{tenant.id}.u{member.id}"]
    assert world.run(lambda: accounts.find_user(tenant.id, member.id).disabled)
