"""Who answers on which host, in the demo and outside of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.server import ROOT

SAMPLE = "http://127.0.0.1:8000"


@pytest.mark.parametrize("address", [SAMPLE, "http://127.0.0.1"])
def test_the_sample_app_answers_on_the_loopback_address(demo_app, address):
    assert "Field Notes" in demo_app.test_client().get("/", base_url=address).text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_the_servers_health_is_known_on_every_host(demo_app, path):
    assert demo_app.test_client().get(path, base_url=SAMPLE).json == {"status": "ok"}


def test_the_server_answers_on_the_tenants_hosts_and_on_no_other(demo_app):
    client = demo_app.test_client()

    assert "Sign in to Acme Inc" in client.get("/login", base_url="http://acme.localhost:8000").text
    assert client.get("/login", base_url="http://initech.localhost:8000").status_code == 404
    assert client.get("/login", base_url=SAMPLE).status_code == 404


def test_outside_of_the_demo_there_is_neither_sample(app, tenant):
    client = app.test_client()

    assert client.get("/", base_url=SAMPLE).status_code == 404
    assert client.get("/api/v1/reports", base_url=tenant.url).status_code == 404


def test_outside_of_the_demo_nothing_of_it_is_loaded_but_the_command():
    code = (
        "import sys; from app import create_app; from config import Config;"
        "create_app(Config(SECRET_KEY='k' * 32));"
        "print(sorted(name for name in sys.modules if name.startswith('app.demo')))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )

    assert done.stdout == "['app.demo', 'app.demo.commands']\n"
