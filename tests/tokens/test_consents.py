"""What a person allowed an app, when two tabs of theirs say so at once."""

from __future__ import annotations

from app.extensions import db
from app.tokens import consents
from tests.world import now


def test_two_tabs_that_allow_more_at_once_both_count(app, world, tenant, member, monkeypatch):
    client_pk = world.client(tenant).pk
    find = consents.find_consent
    in_between: list[str] = []

    def allow(scope):
        with app.app_context():
            consents.give_consent(tenant.id, member.id, client_pk, scope=scope, now=now())
            db.session.commit()

    def find_and_be_late(*key):
        found = find(*key)
        if not in_between:
            in_between.append("write")
            allow("write")
        return found

    allow("read")
    monkeypatch.setattr(consents, "find_consent", lambda **key: find_and_be_late(*key.values()))
    allow("admin")

    with app.app_context():
        assert find(tenant.id, member.id, client_pk).scope == "admin read write"
