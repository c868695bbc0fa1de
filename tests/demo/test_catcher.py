"""The demo's mails: on a page of this machine, and nowhere else."""

from __future__ import annotations

import stat

from app.demo import catcher
from app.mail import outbox, sender
from app.mail.outbox import Written
from app.tenants import registry as tenants
from tests.world import World, now

SAMPLE = "http://127.0.0.1:8000"


@outbox.renders("test.caught")
def write(tenant_id, parameters, recipient):
    return Written("Schöne Grüße <b>", "First <script>.\n\nLook: https://acme.example/x")


def test_a_mail_is_shown_instead_of_sent(demo_app, demo_data, tmp_path):
    world = World(demo_app)
    tenant_id = world.run(lambda: tenants.find_by_slug(demo_data.tenants[0].tenant.slug).id)
    client = demo_app.test_client()
    assert "No mails yet" in client.get("/mails", base_url=SAMPLE).text

    def keep(number):
        outbox.enqueue(tenant_id, "test.caught", "bo@acme.test", key=f"{number}", parameters={}, now=now())

    for number in range(2):
        world.run(lambda number=number: keep(number))
    with demo_app.app_context():
        sender.send_what_is_due()

    page = client.get("/mails", base_url=SAMPLE)
    assert page.text.count("Schöne Grüße &lt;b&gt;") == 2
    assert "To bo@acme.test" in page.text
    assert "&lt;script&gt;" in page.text
    assert '<a href="https://acme.example/x" rel="noopener">' in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert "'none'" in page.headers["Content-Security-Policy"]
    assert stat.S_IMODE((tmp_path / catcher.FILE_NAME).stat().st_mode) == 0o600


def test_its_looks_are_the_servers(demo_app):
    with demo_app.test_client().get("/mails/style.css", base_url=SAMPLE) as style:
        assert style.mimetype == "text/css"


def test_a_tenants_host_has_no_such_page(demo_app):
    assert demo_app.test_client().get("/mails", base_url="http://acme.localhost:8000").status_code == 404


def test_the_start_page_leads_there(demo_app):
    assert 'href="http://127.0.0.1:8000/mails"' in demo_app.test_client().get("/", base_url=SAMPLE).text


def test_outside_of_the_demo_there_is_no_such_page(app):
    assert app.test_client().get("/mails", base_url=SAMPLE).status_code == 404
