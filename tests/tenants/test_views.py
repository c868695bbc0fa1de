"""What a tenant looks like: its colour as a stylesheet, its logo as a picture."""

from __future__ import annotations

import time

import pytest

from app import create_app
from app.extensions import db
from app.revocations.keys import LANES
from app.revocations.models import RevocationLane
from app.tenants import registry
from config import Config
from tests.pictures import opened, picture

ACME = {"base_url": "https://acme.example.com"}
GLOBEX = {"base_url": "https://globex.example.com"}


@pytest.fixture
def app(tmp_path):
    app = create_app(
        Config(SECRET_KEY="k" * 40, SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'look.db'}", TESTING=True)
    )
    with app.app_context():
        db.create_all()
        # As the migration makes them.
        db.session.add_all(RevocationLane(lane=lane, position=0, oldest=0) for lane in range(LANES))
        for slug in ("acme", "globex"):
            registry.create_tenant(slug, slug.title(), [f"{slug}.example.com"], int(time.time()))
        db.session.commit()
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def client(app):
    return app.test_client()


def change(app, slug, key, value):
    with app.app_context():
        tenant = registry.find_by_slug(slug)
        assert tenant is not None
        registry.change_setting(tenant, key, value)
        db.session.commit()


def test_each_tenant_has_its_own_colour(app, client):
    change(app, "acme", "colour", "#FFD33D")

    response = client.get("/brand.css", **ACME)

    assert response.mimetype == "text/css"
    assert "--brand:#FFD33D;--on-brand:#000000;" in response.text
    assert "#FFD33D" not in client.get("/brand.css", **GLOBEX).text


def test_a_new_colour_shows_at_once(app, client):
    client.get("/brand.css", **ACME)
    change(app, "acme", "colour", "#AA0000")

    assert "#AA0000" in client.get("/brand.css", **ACME).text


def name_of_logo(app, slug, *, dark=False):
    with app.app_context():
        tenant = registry.find_by_slug(slug)
        assert tenant is not None
        return tenant.logo_dark_name if dark else tenant.logo_name


def test_a_tenants_logo_is_shown_to_its_own_people_only(app, client):
    change(app, "acme", "logo", picture())
    change(app, "globex", "logo", picture(colour="green"))
    path = f"/logo/{name_of_logo(app, 'acme')}.png"

    response = client.get(path, **ACME)

    assert response.mimetype == "image/png"
    assert opened(response.data).getpixel((0, 0)) == opened(picture()).convert("RGBA").getpixel((0, 0))
    assert client.get(path, **GLOBEX).status_code == 404
    assert client.get("/logo/none.png", **ACME).status_code == 404


def test_a_logo_is_a_picture_and_nothing_else_to_a_browser(app, client):
    change(app, "acme", "logo", picture())

    headers = client.get(f"/logo/{name_of_logo(app, 'acme')}.png", **ACME).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_logo_is_kept_for_a_year_because_its_address_names_its_content(app, client):
    change(app, "acme", "logo", picture())
    path = f"/logo/{name_of_logo(app, 'acme')}.png"

    response = client.get(path, **ACME)

    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Set-Cookie" not in response.headers
    again = client.get(path, headers={"If-None-Match": response.headers["ETag"]}, **ACME)
    assert again.status_code == 304

    change(app, "acme", "logo", picture(colour="green"))
    gone = client.get(path, **ACME)
    assert gone.status_code == 404
    assert "max-age" not in gone.headers["Cache-Control"]


def test_a_tenant_has_a_second_logo_for_dark_pages(app, client):
    change(app, "acme", "logo", picture())
    change(app, "acme", "logo_dark", picture(colour="white"))
    light, dark = name_of_logo(app, "acme"), name_of_logo(app, "acme", dark=True)

    page = client.get("/login", **ACME).text

    assert f'<source media="(prefers-color-scheme: dark)" srcset="/logo/{dark}.png"' in page
    assert f'<img src="/logo/{light}.png" alt="" width="40" height="40">' in page
    assert client.get(f"/logo/{dark}.png", **ACME).data != client.get(f"/logo/{light}.png", **ACME).data


def test_a_logo_for_dark_pages_alone_may_be_changed_to_the_same_picture(app, client):
    change(app, "acme", "logo", picture())
    change(app, "acme", "logo_dark", picture())

    assert client.get(f"/logo/{name_of_logo(app, 'acme', dark=True)}.png", **ACME).status_code == 200


def test_browsers_keep_the_colour_and_shared_caches_do_not(client):
    response = client.get("/brand.css", **ACME)

    assert response.headers["Cache-Control"] == "private, max-age=3600"
    assert "Set-Cookie" not in response.headers
    again = client.get("/brand.css", headers={"If-None-Match": response.headers["ETag"]}, **ACME)
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/brand.css", "/logo/none.png", "/app-logo/none.png"])
def test_a_host_that_is_nobodys_has_no_look(client, path):
    assert client.get(path, base_url="https://nobody.example.com").status_code == 404


def test_the_sign_in_page_asks_for_the_colour_of_its_version(app, client):
    change(app, "acme", "colour", "#AA0000")
    with app.app_context():
        acme = registry.find_by_slug("acme")
        assert acme is not None
        version = acme.version

    page = client.get("/login", **ACME).text

    assert f'href="/brand.css?v={version}"' in page
    assert "Not Acme? You are at acme.example.com." in page


def test_a_tenant_without_a_logo_has_a_letter(client):
    page = client.get("/login", **ACME).text

    assert '<span class="letter of-tenant" aria-hidden="true">A</span>' in page
    assert "/logo/" not in page
