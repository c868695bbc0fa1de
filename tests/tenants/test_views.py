"""What a tenant looks like: its colour as a stylesheet, its logo as a picture."""

from __future__ import annotations

import time

import pytest

from app import create_app
from app.extensions import db
from app.tenants import registry
from config import Config

PNG = b"\x89PNG\r\n\x1a\n" + b"the rest of a picture"

ACME = {"base_url": "https://acme.example.com"}
GLOBEX = {"base_url": "https://globex.example.com"}


@pytest.fixture
def app(tmp_path):
    app = create_app(
        Config(SECRET_KEY="k" * 40, SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'look.db'}", TESTING=True)
    )
    with app.app_context():
        db.create_all()
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


def test_a_tenants_logo_is_shown_to_its_own_people_only(app, client):
    change(app, "acme", "logo", PNG)

    response = client.get("/logo.png", **ACME)

    assert response.mimetype == "image/png"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.data == PNG
    assert client.get("/logo.png", **GLOBEX).status_code == 404


@pytest.mark.parametrize("path", ["/brand.css", "/logo.png"])
def test_browsers_keep_the_look_and_shared_caches_do_not(app, client, path):
    change(app, "acme", "logo", PNG)

    response = client.get(path, **ACME)

    assert response.headers["Cache-Control"] == "private, max-age=3600"
    assert "Set-Cookie" not in response.headers
    again = client.get(path, headers={"If-None-Match": response.headers["ETag"]}, **ACME)
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/brand.css", "/logo.png"])
def test_a_host_that_is_nobodys_has_no_look(client, path):
    assert client.get(path, base_url="https://nobody.example.com").status_code == 404


def test_the_sign_in_page_asks_for_the_look_of_its_version(app, client):
    change(app, "acme", "logo", PNG)
    with app.app_context():
        acme = registry.find_by_slug("acme")
        assert acme is not None
        version = acme.version

    page = client.get("/login", **ACME).text

    assert f'href="/brand.css?v={version}"' in page
    assert f'src="/logo.png?v={version}" alt="Acme"' in page
    assert "Not Acme? You are at acme.example.com." in page
    assert "/logo.png" not in client.get("/login", **GLOBEX).text
