"""What people read of scopes: the tenant's own words, on the consent page and among the connected apps."""

from __future__ import annotations

import html
import re

import pytest

from app.tenants import registry as tenants
from tests.statements import statements
from tests.world import authorize_address


@pytest.fixture
def field_app(world, tenant):
    def offer():
        found = tenants.find_by_slug(tenant.slug)
        tenants.put_scope(found, "reports:read", words="see your reports", dangerous=False)
        tenants.put_scope(found, "photos", words="", dangerous=False)
        tenants.put_scope(found, "sites:delete", words="delete sites", dangerous=True)

    world.run(offer)
    return world.oauth_app(tenant)


def lines_of(page):
    """The list of a page as a person reads it, what only a screen reader says left out."""
    main = page.text[page.text.index("<main") :]
    items = re.findall(r"<li>(.*?)</li>", main, re.DOTALL)
    seen = [re.sub(r'<span class="unseen">.*?</span>', "", item) for item in items]
    return [" ".join(html.unescape(re.sub(r"<[^>]+>", "", item)).split()) for item in seen]


def ask(browser, app, scope):
    page = browser.get(authorize_address(app, scope=scope))
    assert page.status_code == 200
    return page


def test_people_read_the_words_of_the_tenant_and_what_can_do_harm_is_marked(browser, member, field_app):
    browser.sign_in(member)

    page = ask(browser, field_app, "reports:read photos sites:delete")

    assert lines_of(page) == ["see your reports", "photos", "(!) delete sites"]
    assert "Careful: </span>delete sites" in page.text
    assert "<code>reports:read photos sites:delete</code>" in page.text


def test_who_allowed_less_before_reads_what_is_new(browser, member, field_app):
    browser.sign_in(member)
    browser.get_code(field_app, scope="reports:read")

    page = ask(browser, field_app, "reports:read sites:delete")

    assert "Field App wants more than before:" in page.text
    assert lines_of(page) == ["New: (!) delete sites"]


def test_who_is_asked_again_for_the_same_reads_all_of_it(browser, member, field_app):
    browser.sign_in(member)
    browser.get_code(field_app, scope="reports:read photos")

    page = browser.get(authorize_address(field_app, scope="reports:read photos", prompt="consent"))

    assert lines_of(page) == ["see your reports", "photos"]


def test_who_allowed_everything_before_reads_of_nothing_new(browser, member, field_app):
    browser.sign_in(member)
    browser.get_code(field_app)

    page = browser.get(authorize_address(field_app, scope="photos", prompt="consent"))

    assert lines_of(page) == ["photos"]


def test_words_are_text_and_no_markup(world, tenant, browser, member, field_app):
    words = '<b onclick="x">see</b> & "more"'
    world.run(lambda: tenants.put_scope(tenants.find_by_slug(tenant.slug), "photos", words=words, dangerous=False))
    browser.sign_in(member)

    page = ask(browser, field_app, "photos")

    assert "<b onclick" not in page.text
    assert words in html.unescape(page.text)


def test_the_words_of_another_tenant_are_not_ours(world, other_tenant, browser, member, field_app):
    world.run(
        lambda: tenants.put_scope(tenants.find_by_slug(other_tenant.slug), "photos", words="steal", dangerous=True)
    )
    browser.sign_in(member)

    assert lines_of(ask(browser, field_app, "photos")) == ["photos"]


def test_the_connected_apps_are_read_in_the_same_words(world, tenant, browser, member, field_app):
    browser.sign_in(member)
    browser.get_code(field_app, scope="reports:read sites:delete")
    world.run(lambda: tenants.remove_scope(tenants.find_by_slug(tenant.slug), "reports:read"))

    page = browser.get("/account/apps")

    assert "<li>reports:read</li>" in page.text
    assert "Careful: </span>delete sites</li>" in page.text


def test_many_connected_apps_cost_what_one_costs(app, world, tenant, browser, member, field_app):
    browser.sign_in(member)

    def cost():
        with statements(app) as seen:
            browser.get("/account/apps")
        return len(seen)

    browser.get_code(field_app, scope="photos")
    one = cost()
    for _ in range(3):
        browser.get_code(world.oauth_app(tenant), scope="photos sites:delete")

    assert cost() == one
