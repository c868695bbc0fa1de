"""The pictures of apps: shown where people decide about them, and only where the app is on."""

from __future__ import annotations

import pytest

from app.clients import app_registry
from app.extensions import db
from app.logos import read
from tests.pictures import opened, picture
from tests.world import Browser, authorize_address

LOGO = read(picture(size=(128, 64)))
PATH = f"/app-logo/{LOGO.name}.png"
SHOWN = f'<img src="{PATH}" alt="" width="{{}}" height="{{}}">'


@pytest.fixture
def field_app(world, tenant):
    return world.oauth_app(tenant, logo=LOGO)


def test_an_apps_logo_stands_at_every_place_where_people_decide_about_it(field_app, browser, member):
    at_sign_in = browser.get(authorize_address(field_app), follow_redirects=True)
    assert "to continue to" in at_sign_in.text
    assert SHOWN.format(112, 56) in at_sign_in.text

    browser.sign_in(member)
    assert SHOWN.format(112, 56) in browser.get(authorize_address(field_app)).text

    browser.get_code(field_app)
    assert SHOWN.format(80, 40) in browser.get("/account/apps").text


def test_an_apps_logo_stands_on_the_page_of_a_bad_link(field_app, browser):
    page = browser.get(f"/oauth2/authorize?client_id={field_app.client_id}&redirect_uri=https://evil.example/")

    assert page.status_code == 400
    assert SHOWN.format(80, 40) in page.text


def test_an_app_without_a_logo_has_a_letter(world, tenant, browser, member):
    app = world.oauth_app(tenant)
    browser.sign_in(member)

    page = browser.get(authorize_address(app)).text

    assert 'aria-hidden="true">F</span>' in page
    assert "/app-logo/" not in page


def test_the_logo_of_an_app_is_seen_where_the_app_is_on(app, field_app, world, tenant, other_tenant):
    here, there = Browser(app, tenant), Browser(app, other_tenant)

    response = here.get(PATH)
    assert opened(response.data).size == (128, 64)
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert there.get(PATH).status_code == 404
    assert here.get("/app-logo/none.png").status_code == 404

    with app.app_context():
        app_registry.turn_on(app_registry.find_app(field_app.client_id), other_tenant.id, 0)
        db.session.commit()
    assert there.get(PATH).status_code == 200


@pytest.mark.parametrize("how", ["here", "everywhere"])
def test_the_logo_of_an_app_that_is_off_is_not_seen(app, field_app, tenant, browser, how):
    with app.app_context():
        found = app_registry.find_app(field_app.client_id)
        app_registry.turn_off(found, tenant.id) if how == "here" else app_registry.disable(found)
        db.session.commit()

    assert browser.get(PATH).status_code == 404
    page = browser.get(authorize_address(field_app))
    assert "is turned off for Acme" in page.text
    assert "/app-logo/" not in page.text
