"""What is done while something breaks: each kind of request that changes what tokens there are, and what must be true.

The checks do not depend on what broke: only on whether an answer came, and
whether the transaction was committed.
"""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import urlencode

from sqlalchemy import func, select
from werkzeug.test import Client, TestResponse

from app.extensions import db
from app.tokens.models import AccessToken, RefreshToken, TokenFamily
from tests.databases import close
from tests.world import Browser, Machine, TenantHandle, World, answer_of, authorize_address


class FaultyServer(Protocol):
    """A server whose requests carry ``fault`` in their header (see points.py), if there is one."""

    fault: str | None

    def test_client(self, use_cookies: bool = True) -> Client: ...


class Place:
    """A tenant, and those who call it. The test's own process keeps no connection open."""

    def __init__(self, server: FaultyServer, world: World, site: TenantHandle) -> None:
        self.server = server
        self.site = site
        self.world = world
        self.client = world.client(self.site)
        self.app = world.oauth_app(self.site, refresh_tokens=True, device_grant=True)
        self.machine = Machine(server, self.site)
        self.person = Browser(server, self.site)
        self.person.sign_in(world.user(self.site))
        self.admin = Browser(server, self.site)
        self.admin.sign_in(world.admin(self.site))
        close(self.world.app)

    def code(self) -> str:
        return self.person.get_code(self.app)

    def tokens_of_a_person(self) -> dict[str, str]:
        answer = self.machine.redeem(self.app, self.code())
        assert answer.status_code == 200, answer.text
        return answer.json

    def count(self, *tables: Any, where: Any) -> int:
        """How many rows fulfil ``where``."""
        try:
            with self.world.app.app_context():
                return db.session.scalar(select(func.count()).select_from(*tables).where(where)) or 0
        finally:
            close(self.world.app)

    def check_that_no_family_has_two_live_refresh_tokens(self) -> None:
        own = select(RefreshToken.family_id).join(
            TokenFamily,
            (TokenFamily.tenant_id == RefreshToken.tenant_id) & (TokenFamily.id == RefreshToken.family_id),
        )
        own = own.where(
            RefreshToken.tenant_id == self.site.id, RefreshToken.spent_at.is_(None), TokenFamily.revoked_at.is_(None)
        )
        twice = own.group_by(RefreshToken.family_id).having(func.count() > 1).subquery()
        assert self.count(twice, where=True) == 0

    def count_live_tokens_of_people(self) -> int:
        return self.count(
            AccessToken,
            where=(AccessToken.tenant_id == self.site.id)
            & AccessToken.user_id.is_not(None)
            & AccessToken.revoked_at.is_(None),
        )


class Operation:
    """A kind of request: ``send`` is what breaks; ``check`` hears whether its answer came, and whether it committed."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.machine = place.machine
        self.prepare()

    def prepare(self) -> None: ...

    def send(self) -> TestResponse: ...

    def check(self, answer: TestResponse | None, *, committed: bool) -> None: ...


class Issue(Operation):
    def send(self) -> TestResponse:
        return self.machine.request_token(self.place.client)

    def check(self, answer: TestResponse | None, *, committed: bool) -> None:
        if answer is not None:
            assert self.machine.works(answer.json["access_token"])
        assert self.machine.works(self.machine.token(self.place.client))


class AskForADevice(Operation):
    def send(self) -> TestResponse:
        return self.machine.authorize_device(self.place.app)

    def check(self, answer: TestResponse | None, *, committed: bool) -> None:
        if answer is not None:
            asked = self.machine.poll(self.place.app, answer.json["device_code"])
            assert asked.json["error"] == "authorization_pending"
        assert self.send().status_code == 200


class Push(Operation):
    def send(self) -> TestResponse:
        app = self.place.app
        body = {"response_type": "code", "client_id": app.client_id, "client_secret": app.secret}
        return self.machine.post_form("/oauth2/par", body)

    def check(self, answer: TestResponse | None, *, committed: bool) -> None:
        if answer is not None:
            asked = {"client_id": self.place.app.client_id, "request_uri": answer.json["request_uri"]}
            assert self.place.person.get("/oauth2/authorize?" + urlencode(asked)).status_code in {200, 303}
        assert self.send().status_code == 201


class Redeem(Operation):
    def prepare(self) -> None:
        self.before = self.place.count_live_tokens_of_people()
        self.code = self.place.code()

    def send(self) -> TestResponse:
        return self.machine.redeem(self.place.app, self.code)

    def check(self, answer: TestResponse | None, *, committed: bool) -> None:
        if answer is None:
            answer = self.send()
            if committed:
                # Bought, but never delivered: the code is spent, and nobody holds what it bought.
                assert answer.json["error"] == "invalid_grant"
                assert self.place.count_live_tokens_of_people() == self.before
                return
        assert answer.status_code == 200, answer.text
        assert self.machine.works(answer.json["access_token"])
        assert self.machine.refresh(self.place.app, answer.json["refresh_token"]).status_code == 200
        assert self.send().json["error"] == "invalid_grant"


class Rotate(Operation):
    def prepare(self) -> None:
        self.old = self.place.tokens_of_a_person()["refresh_token"]

    def send(self) -> TestResponse:
        return self.machine.refresh(self.place.app, self.old)

    def check(self, answer: TestResponse | None, *, committed: bool) -> None:
        self.place.check_that_no_family_has_two_live_refresh_tokens()
        if answer is None:
            answer = self.send()
            if committed:
                # Rotated, but never delivered: to the server this is a stolen token. The person signs in again.
                assert answer.json["error"] == "invalid_grant"
                assert self.send().json["error"] == "invalid_grant"
                assert self.machine.redeem(self.place.app, self.place.code()).status_code == 200
                return
        assert self.machine.works(answer.json["access_token"])
        following = self.machine.refresh(self.place.app, answer.json["refresh_token"])
        assert following.status_code == 200, following.text
        self.place.check_that_no_family_has_two_live_refresh_tokens()
        assert self.send().json["error"] == "invalid_grant"
        assert not self.machine.works(following.json["access_token"])


class Revoke(Operation):
    """RFC 7009, of an access token with its refresh token."""

    def prepare(self) -> None:
        tokens = self.place.tokens_of_a_person()
        self.token, self.refresh_token = tokens["access_token"], tokens["refresh_token"]

    def send(self) -> TestResponse:
        return self.machine.revoke(self.place.app, self.token)

    def check(self, answer: TestResponse | None, *, committed: bool) -> None:
        assert self.machine.works(self.token) is not committed
        if answer is None:
            assert self.send().status_code == 200
        assert not self.machine.works(self.token)
        assert self.machine.refresh(self.place.app, self.refresh_token).json["error"] == "invalid_grant"


class RevokeAll(Operation):
    """On the admin's page."""

    def prepare(self) -> None:
        self.token = self.machine.token(self.place.client)
        self.page = f"/settings/app/api-clients/{self.place.client.pk}/revoke-all"
        assert self.place.admin.get(self.page).status_code == 200

    def send(self) -> TestResponse:
        return self.place.admin.post(self.page)

    def check(self, answer: TestResponse | None, *, committed: bool) -> None:
        assert self.machine.works(self.token) is not committed
        if answer is None:
            self.place.admin.get(self.page)
            assert self.send().status_code == 303
        assert not self.machine.works(self.token)
        assert self.machine.works(self.machine.token(self.place.client))


class Introspect(Operation):
    """Changes nothing."""

    def prepare(self) -> None:
        self.token = self.machine.token(self.place.client)

    def send(self) -> TestResponse:
        return self.machine.introspect(self.place.client, self.token)

    def check(self, answer: TestResponse | None, *, committed: bool) -> None:
        assert answer is not None
        assert answer.json["active"] is True


class Verify(Introspect):
    """A call to a protected address."""

    def send(self) -> TestResponse:
        return self.machine.verify(self.token)


class Consent(Operation):
    """A person presses Allow."""

    def prepare(self) -> None:
        self.page = authorize_address(self.place.app, prompt="consent")
        assert self.place.person.get(self.page).status_code == 200

    def send(self) -> TestResponse:
        return self.place.person.post(self.page, {"decision": "allow"})

    def check(self, answer: TestResponse | None, *, committed: bool) -> None:
        if answer is None:
            self.place.person.get(self.page)
            answer = self.send()
        assert self.machine.redeem(self.place.app, answer_of(answer)["code"]).status_code == 200
