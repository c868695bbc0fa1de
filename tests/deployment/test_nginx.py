"""deploy/nginx.conf in a real nginx: before the server, before none, and before one that tells what it hears.

Only addresses, ports and file names are replaced; TLS is real, with a
certificate made for the test.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.deployment.processes import free_port, running
from tests.postgres import skip_or_fail
from tests.server import serving

ROOT = Path(__file__).parents[2]
METADATA = "/.well-known/oauth-authorization-server"
SECRET = "hush-this-is-a-secret-value"

pytestmark = pytest.mark.server


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: str


class Nginx:
    """A running nginx with the project's file, in front of ``upstream`` (a port of loopback)."""

    def __init__(self, folder: Path, upstream: int) -> None:
        self.folder = folder
        self.http, self.https = free_port(), free_port()
        self._certificate = folder / "fullchain.pem"
        _make_certificate(self._certificate, folder / "privkey.pem")
        (folder / "keyporter.conf").write_text(self._adapted(upstream))
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = "".join(
            f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"{user}\ndaemon off;\nworker_processes 1;\npid {folder}/pid;\nevents {{}}\n"
            f"http {{\n{temporary}    include {folder}/keyporter.conf;\n}}\n"
        )

    def _adapted(self, upstream: int) -> str:
        text = (ROOT / "deploy" / "nginx.conf").read_text()
        text = re.sub(r"^\s*listen \[::\]:.*$", "", text, flags=re.MULTILINE)
        for theirs, ours in (
            ("server server:8000;", f"server 127.0.0.1:{upstream};"),
            ("listen 80 ", f"listen 127.0.0.1:{self.http} "),
            ("listen 443 ", f"listen 127.0.0.1:{self.https} "),
            ("/etc/nginx/tls/", f"{self.folder}/"),
            ("/var/log/nginx/", f"{self.folder}/"),
        ):
            assert theirs in text, theirs
            text = text.replace(theirs, ours)
        return text

    @property
    def command(self) -> list[str]:
        binary = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        if binary is None:
            skip_or_fail("no nginx: install it (apt-get install nginx-light)")
        return [
            binary,
            "-p",
            str(self.folder),
            "-c",
            f"{self.folder}/nginx.conf",
            "-e",
            f"{self.folder}/error.log",
        ]

    def ask(self, request: str, *, host: str = "acme.example.com", tls: bool = True) -> Answer:
        """Send ``request`` (lines, a blank one, a body) as it is to the address of ``host``.

        Reads until nginx hangs up, which it does after it has written its log.
        """
        head, _, body = request.strip("\n").partition("\n\n")
        head = f"{head}\nConnection: close"
        raw = (head.replace("\n", "\r\n") + "\r\n\r\n").encode() + body.encode()
        with socket.create_connection(("127.0.0.1", self.https if tls else self.http), timeout=20) as plain:
            context = ssl.create_default_context(cafile=self._certificate)
            with context.wrap_socket(plain, server_hostname=host) if tls else plain as connection:
                connection.sendall(raw)
                response = http.client.HTTPResponse(connection)
                response.begin()
                answer = Answer(response.status, response.headers, response.read().decode())
                while connection.recv(4096):
                    pass
                return answer

    def logs(self) -> str:
        return "".join((self.folder / name).read_text() for name in ("access.log", "error.log"))


def _make_certificate(certificate: Path, key: Path) -> None:
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=keyporter", "-addext", "subjectAltName=DNS:*.example.com"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *kind, *names, *files], check=True, capture_output=True)


def _run_nginx(folder: Path, upstream: int) -> Iterator[Nginx]:
    nginx = Nginx(folder, upstream)
    environment = {"PATH": os.environ["PATH"]}
    with running(nginx.command, port=nginx.https, log=folder / "out", cwd=folder, env=environment):
        yield nginx


@pytest.fixture(scope="module")
def nginx(tmp_path_factory) -> Iterator[Nginx]:
    """In front of a server with two tenants: acme and globex, each at NAME.example.com."""
    folder = tmp_path_factory.mktemp("server")
    database_url = f"sqlite:///{folder}/keyporter.db"
    environment = {**os.environ, "DATABASE_URL": database_url}

    def flask(*words: str) -> None:
        command = [sys.executable, "-m", "flask", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    flask("db", "upgrade")
    flask("tenant", "create", "acme", "--name", "Acme Inc", "--host", "acme.example.com")
    flask("tenant", "create", "globex", "--name", "Globex", "--host", "globex.example.com")
    log = folder / "gunicorn.log"
    with serving(database_url, log, workers=1, environment={"TRUSTED_PROXIES": "1"}) as server:
        yield from _run_nginx(tmp_path_factory.mktemp("nginx"), server.port)


@pytest.fixture(scope="module")
def nginx_alone(tmp_path_factory) -> Iterator[Nginx]:
    """In front of a port where nothing listens."""
    yield from _run_nginx(tmp_path_factory.mktemp("nginx"), free_port())


class _TellTale(BaseHTTPRequestHandler):
    """Answers with what it was asked: the request line and the headers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        heard = json.dumps({"line": self.requestline, "headers": self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(heard)))
        self.end_headers()
        self.wfile.write(heard)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def nginx_and_tell_tale(tmp_path_factory) -> Iterator[Nginx]:
    """In front of a server that tells what reached it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _TellTale) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield from _run_nginx(tmp_path_factory.mktemp("nginx"), server.server_port)
        server.shutdown()
        thread.join()


# --- what reaches the server ---------------------------------------------------------------


def test_what_a_client_says_about_proxies_is_replaced(nginx_and_tell_tale):
    answer = nginx_and_tell_tale.ask(
        """
GET /a//b?x=%2F HTTP/1.1
Host: ACME.example.com:8443
X-Forwarded-For: 203.0.113.7
X-Forwarded-Proto: http
X-Forwarded-Host: globex.example.com
X-Forwarded-Port: 80
X-Forwarded-Prefix: /admin
X-Real-IP: 203.0.113.7
Forwarded: for=203.0.113.7;host=globex.example.com
Proxy: http://203.0.113.7
X_Forwarded_Host: globex.example.com
SCRIPT_NAME: /admin
Authorization: Bearer abc

"""
    )

    heard = json.loads(answer.body)
    assert heard["line"] == "GET /a//b?x=%2F HTTP/1.1"
    assert dict(heard["headers"]) == {
        "Host": "acme.example.com",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "acme.example.com",
        "Authorization": "Bearer abc",
    }
    assert len(heard["headers"]) == 5
    assert 'GET "/a//b" 200' in nginx_and_tell_tale.logs(), "locations are matched by the path as it was sent"


# --- tenants -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["acme", "globex"])
def test_a_tenant_is_reached_by_its_host(nginx, name):
    answer = nginx.ask(f"GET {METADATA} HTTP/1.1\nHost: {name}.example.com\n\n")

    assert answer.status == 200
    assert json.loads(answer.body)["issuer"] == f"https://{name}.example.com"


def test_a_client_that_forwards_another_host_stays_where_it_is(nginx):
    lies = "X-Forwarded-Host: globex.example.com\nForwarded: host=globex.example.com"
    answer = nginx.ask(f"GET {METADATA} HTTP/1.1\nHost: acme.example.com\n{lies}\n\n")

    assert json.loads(answer.body)["issuer"] == "https://acme.example.com"


def test_the_request_line_decides_where_it_names_another_host(nginx):
    """RFC 9112 section 3.2.2; the server behind must not decide otherwise."""
    answer = nginx.ask(f"GET https://globex.example.com{METADATA} HTTP/1.1\nHost: acme.example.com\n\n")

    assert json.loads(answer.body)["issuer"] == "https://globex.example.com"


@pytest.mark.parametrize("head", ["HTTP/1.1\nHost: unknown.example.com", "HTTP/1.1\nHost: 127.0.0.1", "HTTP/1.0"])
def test_a_host_that_is_nobodys_is_not_found(nginx, head):
    assert nginx.ask(f"GET {METADATA} {head}\n\n").status == 404


# --- limits and failures speak JSON to machines --------------------------------------------


def test_a_body_that_is_too_large_is_refused_by_the_server_itself(nginx):
    size = 300_000
    answer = nginx.ask(
        "POST /oauth2/token HTTP/1.1\nHost: acme.example.com\n"
        f"Content-Type: application/x-www-form-urlencoded\nContent-Length: {size}\n\n" + "a" * size
    )

    assert answer.status == 413
    assert "error" in json.loads(answer.body)


def test_a_machine_is_told_that_the_server_is_away(nginx_alone):
    answer = nginx_alone.ask("POST /oauth2/token HTTP/1.1\nHost: acme.example.com\nContent-Length: 0\n\n")

    assert answer.status == 503
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Retry-After"] == "5"
    assert json.loads(answer.body) == {"error": "temporarily_unavailable"}


# --- plain http ----------------------------------------------------------------------------


def test_a_person_on_plain_http_is_led_to_https_without_the_secret(nginx):
    answer = nginx.ask(
        f"GET /oauth2/authorize?client_id=a&client_secret={SECRET} HTTP/1.1\nHost: acme.example.com\n\n",
        tls=False,
    )

    assert answer.status == 301
    assert answer.headers["Location"] == "https://acme.example.com/oauth2/authorize?client_id=a"


def test_a_machine_on_plain_http_is_refused(nginx):
    body = f"grant_type=client_credentials&client_id=a&client_secret={SECRET}"
    answer = nginx.ask(
        "POST /oauth2/token HTTP/1.1\nHost: acme.example.com\n"
        f"Content-Type: application/x-www-form-urlencoded\nContent-Length: {len(body)}\n\n{body}",
        tls=False,
    )

    assert answer.status == 400
    assert answer.headers["Location"] is None
    assert json.loads(answer.body)["error"] == "invalid_request"


# --- logs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/oauth2/authorize", "/oauth2/token", "/healthz"])
@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("front", ["nginx", "nginx_alone"])
def test_the_logs_hold_the_path_and_never_the_query(request, front, path, tls):
    proxy = request.getfixturevalue(front)

    proxy.ask(
        f"GET {path}?response_type=code&client_secret={SECRET} HTTP/1.1\nHost: acme.example.com\n"
        f"Referer: https://acme.example.com/?code={SECRET}\nAuthorization: Bearer {SECRET}\n\n",
        tls=tls,
    )

    assert f'GET "{path}"' in proxy.logs()
    assert SECRET not in proxy.logs()
    assert "client_secret" not in proxy.logs()
