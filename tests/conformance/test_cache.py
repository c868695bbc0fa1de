"""A real cache in front, and a careless one: it keeps whatever it may, by host and address, cookies or not."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
from dataclasses import replace

import pytest

from tests.deployment.processes import free_port, running
from tests.postgres import skip_or_fail
from tests.world import Browser, Machine

pytestmark = pytest.mark.server

METADATA = "/.well-known/oauth-authorization-server"

CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=kept:1m;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_set_header Host $http_host;
            proxy_cache kept;
            proxy_cache_key $http_host$request_uri;
            proxy_ignore_headers Set-Cookie;
            add_header Cached $upstream_cache_status always;
        }}
    }}
}}
"""


def ask(cache, host, path, **headers):
    """The answer to a GET and its body; any header may be said."""
    connection = http.client.HTTPConnection("127.0.0.1", cache.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Host": host, **headers})
        answer = connection.getresponse()
        return answer, answer.read().decode()


@pytest.fixture
def cache(server, tmp_path):
    """What listens at the cache's port, to be used like the server behind it."""
    binary = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if binary is None:
        skip_or_fail("no nginx: install it (apt-get install nginx-light)")
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    text = CONFIGURATION.format(user=user, folder=tmp_path, port=port, upstream=server.port)
    (tmp_path / "nginx.conf").write_text(text)
    command = [binary, "-p", str(tmp_path), "-c", f"{tmp_path}/nginx.conf", "-e", f"{tmp_path}/error.log"]
    with running(command, port=port, log=tmp_path / "out", cwd=tmp_path, env={"PATH": os.environ["PATH"]}):
        yield replace(server, port=port)


def test_what_is_kept_of_one_tenant_is_never_anothers_or_a_liars(cache, served_world, site, server):
    other = served_world.site(server.port)
    lies = {
        "X-Forwarded-Host": other.host, "X-Host": other.host, "Forwarded": f"host={other.host}",
        "X-Original-URL": "/login", "X-Rewrite-URL": "/login", "Origin": "https://evil.example",
    }  # fmt: skip
    for name, value in lies.items():
        for query in ("", f"?cb={name}"):
            ask(cache, f"{site.host}:{site.port}", METADATA + query, **{name: value})

    kept, body = ask(cache, f"{site.host}:{site.port}", METADATA)
    fresh, others = ask(cache, f"{other.host}:{other.port}", METADATA)

    assert kept.headers["Cached"] == "HIT"
    assert f'"issuer":"{site.url}"' in body.replace(" ", "").replace("\n", "")
    assert other.host not in body
    assert "evil" not in body + str(kept.headers)
    assert kept.headers["Set-Cookie"] is None
    assert fresh.headers["Cached"] == "MISS"
    assert other.url in others


def test_no_page_and_no_cookie_is_kept_for_anybody_else(cache, served_world, site):
    person = Browser(cache, site)
    signed_in = person.sign_in(served_world.user(site))
    own_page = person.get("/account/apps")
    machine = Machine(cache, site)
    token = machine.token(served_world.client(site))
    verified = machine.verify(token)

    stranger = Browser(cache, site)
    assert (signed_in.status_code, own_page.status_code, verified.status_code) == (303, 200, 200)
    assert stranger.get("/account/apps").status_code == 303
    assert machine.open("/oauth2/verify").status_code == 401
    for path in ("/login", "/", "/account/apps", "/oauth2/verify", "/oauth2/authorize", "/nowhere", "/healthz"):
        for _ in range(2):
            answer, body = ask(cache, f"{site.host}:{site.port}", path)
            assert answer.headers["Cached"] in {"MISS", None, "EXPIRED"}, path
            assert "Bo Lind" not in body
    cookies = {ask(cache, f"{site.host}:{site.port}", "/login")[0].headers["Set-Cookie"] for _ in range(3)}
    assert len(cookies) == 3
