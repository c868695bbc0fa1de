"""The audit log of a tenant, as its admins read it and take it away."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from app.audit import log as audit
from app.audit.log import Actor, Target
from app.extensions import db
from app.members import audit_views
from tests.documentation.test_readme import ROOT
from tests.statements import statements
from tests.world import now

LOG = "/settings/audit-log"


@pytest.fixture
def at_work(browser, admin):
    browser.sign_in(admin)
    return browser


def write(world, tenant, count=1, event="client.changed", actor="Zed", target="thing", note="", at=None):
    def record():
        for number in range(count):
            audit.record(
                tenant.id, event, Actor("operator", actor), Target("client", target), note or f"note {number}."
            )
        for row in db.session.new:
            row.at = at or now() + 5

    world.run(record)


def rows(page):
    return page.text.split("<tbody")[1].split("</tbody")[0] if "<tbody" in page.text else ""


def test_the_log_is_narrowed_by_who_what_about_and_when(world, at_work, tenant, admin, member, api_client):
    write(world, tenant, actor="Old", note="long ago", at=1_000_000_000)
    write(world, tenant, event="login.failed", actor="sign-in", target="unknown", note="by stranger")
    write(world, tenant, event="loginx.failed", note="no family")
    world.run(lambda: audit.record(tenant.id, "client.created", Actor("user", "Bo Lind", member.id),
                                   Target("client", api_client.client_id, api_client.pk), "made by bo"))  # fmt: skip

    def found(query):
        return rows(at_work.get(f"{LOG}?{query}"))

    assert "made by bo" in found("who=BO@acme.example")
    assert "by stranger" not in found("who=bo@acme.example")
    assert "by stranger" in found("who=sign-in")
    assert "by stranger" in found("what=login")
    assert "no family" not in found("what=login")
    assert "login.ok" not in found("what=login.failed")
    assert "made by bo" in found(f"target={api_client.client_id}")
    assert "by stranger" in found("target=unknown")
    assert "long ago" in found("to=2001-09-09")
    assert "by stranger" not in found("to=2001-09-09")
    assert "long ago" not in found("from=2001-09-10")
    assert "long ago" in found("from=2001-09-09&to=2001-09-09")
    assert "by stranger" in found("from=nonsense")


def test_pages_lead_through_all_of_it_once(app, world, at_work, tenant):
    write(world, tenant, count=120, event="scope.added")
    address: str | None = f"{LOG}?what=scope"
    seen: list[str] = []
    while address:
        page = at_work.get(address)
        seen += re.findall(r"note \d+\.", rows(page))
        following = re.search(r'href="([^"]+)">Next<', page.text)
        address = following[1].replace("&amp;", "&") if following else None

    assert len(seen) == 120
    assert len(set(seen)) == 120


def test_a_page_takes_a_fixed_number_of_statements(app, world, at_work, tenant):
    with statements(app) as few:
        at_work.get(LOG)
    write(world, tenant, count=60)
    with statements(app) as many:
        at_work.get(LOG)

    assert len(many) == len(few) <= 4


def test_nothing_of_another_tenant_is_in_it(world, at_work, other_tenant):
    write(world, other_tenant, note="secret of globex")

    assert "globex" not in at_work.get(LOG).text
    assert "globex" not in at_work.get(f"{LOG}/export.csv").text
    assert "globex" not in at_work.get(f"{LOG}/export.json").text


def test_an_export_is_all_of_it_in_batches(app, world, at_work, tenant, monkeypatch):
    monkeypatch.setattr(audit_views, "BATCH", 7)
    write(world, tenant, count=30, event="scope.added")

    lines = list(csv.DictReader(io.StringIO(at_work.get(f"{LOG}/export.csv?what=scope").text)))
    events = json.loads(at_work.get(f"{LOG}/export.json?what=scope").text)

    assert len({line["note"] for line in lines}) == len(lines) == 30
    assert [event["note"] for event in events] == [line["note"] for line in lines]
    assert at_work.page.headers["Content-Disposition"] == 'attachment; filename="audit-acme.json"'
    assert at_work.page.headers["Cache-Control"] == "no-store"
    assert json.loads(at_work.get(f"{LOG}/export.json?what=nothing.here").text) == []


@pytest.mark.parametrize("note", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(world, at_work, tenant, note):
    write(world, tenant, note=note, event="scope.added", actor='"quoted", and more')

    [line] = csv.DictReader(io.StringIO(at_work.get(f"{LOG}/export.csv?what=scope.added").text, newline=""))

    assert line["note"] == f"'{note}"
    assert line["actor"] == '"quoted", and more'


def test_that_somebody_took_it_away_is_in_it(at_work):
    at_work.get(f"{LOG}/export.csv")

    assert "audit.exported" in rows(at_work.get(LOG))


@pytest.mark.parametrize(
    "before", ["x", "1-0", "1-99999999999999999999", "99999999999999-1", "-1", "1-9223372036854775807"]
)
def test_a_mangled_place_is_no_error(at_work, before):
    assert at_work.get(f"{LOG}?before={before}&who=%00&target=%00&what=%27").status_code == 200


def test_the_events_that_are_offered_are_those_of_the_documentation():
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    named = set(
        re.findall(r"`([a-z]+\.[a-z_]+)`", text[text.index("Its events:") : text.index("Nothing deletes them")])
    )

    of_the_deployment = {"app.created", "app.changed", "app.secret_rotated", "app.deleted", "tenant.deleted"}
    assert set(audit.EVENTS) == named - of_the_deployment
