"""deploy/nginx.conf in a real nginx: before the server, before none, and before one that tells what it hears.

Only addresses, ports and file names are replaced; TLS is real, with a
certificate made for the test.
"""

from __future__ import annotations

import contextlib
import http.client
import io
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
from typing import Any

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

    #: A client of the tenant acme, if the server behind has that.
    client_id = client_secret = ""

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
        [answer] = self.converse(raw, host=host, tls=tls)
        return answer

    def converse(self, raw: bytes, *, host: str = "acme.example.com", tls: bool = True) -> list[Answer]:
        """All answers on one connection to the address of ``host`` on which ``raw`` is sent; nginx must end it."""
        received = bytearray()
        with socket.create_connection(("127.0.0.1", self.https if tls else self.http), timeout=20) as plain:
            context = ssl.create_default_context(cafile=self._certificate)
            with context.wrap_socket(plain, server_hostname=host) if tls else plain as connection:
                # nginx that has heard enough does not listen on.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
                    connection.sendall(raw)
                with contextlib.suppress(ConnectionResetError):
                    while part := connection.recv(65536):
                        received += part
        return list(_parse_answers(bytes(received)))

    def logs(self) -> str:
        return "".join((self.folder / name).read_text() for name in ("access.log", "error.log"))


class _Received:
    """Bytes that http.client reads as if they came from a socket."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.file.close = lambda: None  # type: ignore[method-assign]

    def makefile(self, _mode: str) -> io.BytesIO:
        return self.file


def _parse_answers(data: bytes) -> Iterator[Answer]:
    received = _Received(data)
    while received.file.tell() < len(data):
        response = http.client.HTTPResponse(received)  # type: ignore[arg-type]
        response.begin()
        yield Answer(response.status, response.headers, response.read().decode())


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

    def flask(*words: str) -> str:
        command = [sys.executable, "-m", "flask", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    flask("db", "upgrade")
    flask("tenant", "create", "acme", "--name", "Acme Inc", "--host", "acme.example.com")
    flask("tenant", "create", "globex", "--name", "Globex", "--host", "globex.example.com")
    client = flask("client", "create", "--tenant", "acme", "--name", "Power BI", "--json")
    log = folder / "gunicorn.log"
    with serving(database_url, log, workers=1, environment={"TRUSTED_PROXIES": "1"}) as server:
        for nginx in _run_nginx(tmp_path_factory.mktemp("nginx"), server.port):
            nginx.client_id, nginx.client_secret = (json.loads(client)[name] for name in ("client_id", "client_secret"))
            yield nginx


@pytest.fixture(scope="module")
def nginx_alone(tmp_path_factory) -> Iterator[Nginx]:
    """In front of a port where nothing listens."""
    yield from _run_nginx(tmp_path_factory.mktemp("nginx"), free_port())


class _TellTale(BaseHTTPRequestHandler):
    """Answers with what it was asked: the request line and the headers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        heard = json.dumps({"line": self.requestline, "headers": self.headers.items(), "body": body}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(heard)))
        self.end_headers()
        self.wfile.write(heard)

    do_POST = do_GET  # noqa: N815 - the library's name

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


FORM = "Content-Type: application/x-www-form-urlencoded"
HOST = "Host: acme.example.com"


def message(line: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([line, *headers]).encode("latin-1") + b"\r\n\r\n" + body


def heard_behind(nginx: Nginx, raw: bytes) -> list[dict[str, Any]]:
    """What each request on the connection was for the server behind; one that nginx refused is left out."""
    return [json.loads(answer.body) for answer in nginx.converse(raw) if answer.status == 200]


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param("Content-Length: 3\r\nTransfer-Encoding: chunked", id="HT-01-both"),
        pytest.param("Transfer-Encoding: chunked\r\nContent-Length: 3", id="HT-01-both-the-other-way"),
        pytest.param("Content-Length: 3\r\nContent-Length: 3", id="HT-01-two-lengths"),
        pytest.param("Content-Length: 3\r\nContent-Length: 13", id="HT-01-two-other-lengths"),
        pytest.param("Content-Length: +3", id="HT-01-a-sign"),
        pytest.param("Content-Length: 3, 3", id="HT-01-a-list"),
        pytest.param("Transfer-Encoding: xchunked", id="HT-02-unknown"),
        pytest.param("Transfer-Encoding: identity", id="HT-02-identity"),
        pytest.param("Transfer-Encoding: chunked, identity", id="HT-02-two-codings"),
        pytest.param("Transfer-Encoding: gzip, chunked", id="HT-02-gzip"),
        pytest.param("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", id="HT-02-twice"),
        pytest.param("Transfer-Encoding: \x0bchunked", id="HT-02-control-byte"),
    ],
)
def test_a_body_whose_end_is_not_clear_goes_no_further(nginx_and_tell_tale, framing):
    chunks = b"3\r\na=b\r\n0\r\n\r\n"
    raw = message("POST / HTTP/1.1", HOST, FORM, framing, "Connection: close", body=chunks)

    assert [answer.status for answer in nginx_and_tell_tale.converse(raw)] in ([400], [411], [501])


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda raw: raw.replace(b"\r\n", b"\n"), id="HT-05-LF"),
        pytest.param(lambda raw: raw.replace(b"Host: ", b"Host:\r\n "), id="HT-05-obs-fold-in-Host"),
        pytest.param(lambda raw: raw.replace(b"\r\nX: ", b"\r\n folded: y\r\nX: "), id="HT-05-obs-fold"),
        pytest.param(lambda raw: raw.replace(b"\r\nX: y", b"\r\nHost : globex.example.com"), id="HT-05-space"),
        pytest.param(lambda raw: raw.replace(b"\r\nX: y", b"\r\n: y"), id="HT-05-no-name"),
        pytest.param(lambda raw: raw.replace(b"\r\nX: y", b"\r\nX: a\x00b"), id="HT-05-NUL"),
        pytest.param(lambda raw: raw.replace(b"\r\nX: y", b"\r\nX: a\rHost: globex.example.com"), id="HT-05-CR"),
        pytest.param(lambda raw: raw.replace(b"\r\nX: y", b"\r\nHost: globex.example.com"), id="MT-25-two-hosts"),
        pytest.param(lambda raw: raw.replace(b"\r\nX: y", b"\r\nHost: acme.example.com"), id="MT-25-one-host-twice"),
    ],
)
def test_a_head_that_is_not_clear_is_refused_or_arrives_clean(nginx_and_tell_tale, spoil):
    """nginx is lenient with some of them; what it sends on is made anew by it, with the one host it went by."""
    raw = message("GET / HTTP/1.1", HOST, "X: y", "Connection: close")

    heard = heard_behind(nginx_and_tell_tale, spoil(raw))

    assert len(heard) <= 1
    for request in heard:
        names = [name for name, _ in request["headers"]]
        assert set(names) <= {"Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X"}
        assert len(names) == len(set(names))
        assert dict(request["headers"])["Host"] == "acme.example.com"
        assert not {"\r", "\n", "\0"} & set("".join(value for _, value in request["headers"]))


def test_chunks_arrive_as_one_body_without_what_stood_beside_them(nginx_and_tell_tale):
    """HT-08: neither extensions nor trailers come through."""
    chunks = b"3;x=y\r\na=b\r\n0\r\nHost: globex.example.com\r\nAuthorization: Bearer abc\r\n\r\n"
    raw = message("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", "Connection: close", body=chunks)

    [heard] = heard_behind(nginx_and_tell_tale, raw)

    headers = dict(heard["headers"])
    assert (heard["body"], headers["Content-Length"], headers["Host"]) == ("a=b", "3", "acme.example.com")
    assert not {"Transfer-Encoding", "Authorization", "Trailer"} & headers.keys()


@pytest.mark.parametrize("broken", [b"zz\r\na=b\r\n0\r\n\r\n", b"3\r\na=bXX0\r\n\r\n", b"-3\r\na=b\r\n0\r\n\r\n"])
def test_broken_chunks_go_no_further(nginx_and_tell_tale, broken):
    """HT-08."""
    raw = message("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", "Connection: close", body=broken)

    assert [answer.status for answer in nginx_and_tell_tale.converse(raw)] == [400]


def test_a_request_hidden_behind_a_body_is_a_request_of_its_own(nginx_and_tell_tale):
    """HT-09: each is made anew, so the second brings neither rights nor host of the first."""
    hidden = message("GET /second HTTP/1.1", "Host: globex.example.com", "Connection: close")
    raw = message("POST /first HTTP/1.1", HOST, "Authorization: Bearer abc", "Content-Length: 3", body=b"a=b" + hidden)

    first, second = heard_behind(nginx_and_tell_tale, raw)

    assert (first["line"], first["body"]) == ("POST /first HTTP/1.1", "a=b")
    assert second["line"] == "GET /second HTTP/1.1"
    assert dict(second["headers"])["Host"] == "globex.example.com"
    assert "Authorization" not in dict(second["headers"])


def test_a_request_hidden_in_a_body_is_a_body(nginx_and_tell_tale):
    """HT-09."""
    hidden = message("GET /second HTTP/1.1", "Host: globex.example.com").decode()
    length = f"Content-Length: {len(hidden)}"
    raw = message("POST /first HTTP/1.1", HOST, length, "Connection: close", body=hidden.encode())

    [heard] = heard_behind(nginx_and_tell_tale, raw)

    assert heard["body"] == hidden


@pytest.mark.parametrize("line", ["GET /a#b HTTP/1.1", "GET http://acme.example.com/a#b HTTP/1.1"])
def test_a_fragment_does_not_reach_the_server_as_part_of_a_path(nginx, line):
    assert nginx.ask(f"{line}\n{HOST}\n\n").status in {400, 404}


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


@pytest.mark.parametrize("named", ["acme.example.com", "unknown.example.com"])
def test_the_request_line_decides_where_it_names_another_host(nginx, named):
    """MT-26: RFC 9112 section 3.2.2; the server behind must not decide otherwise."""
    answer = nginx.ask(f"GET https://globex.example.com{METADATA} HTTP/1.1\nHost: {named}\n\n")

    assert json.loads(answer.body)["issuer"] == "https://globex.example.com"


def test_a_secret_of_one_host_is_nothing_on_the_host_that_the_request_line_names(nginx):
    """MT-26: what counts for one part of a request counts for all of it."""
    body = f"grant_type=client_credentials&client_id={nginx.client_id}&client_secret={nginx.client_secret}"

    def ask(address: str, named: str) -> int:
        return nginx.ask(
            f"POST {address}/oauth2/token HTTP/1.1\nHost: {named}\n{FORM}\nContent-Length: {len(body)}\n\n{body}"
        ).status

    assert ask("", "acme.example.com") == 200
    assert ask("https://acme.example.com", "globex.example.com") == 200
    assert ask("https://globex.example.com", "acme.example.com") == 401


@pytest.mark.parametrize("server_name", ["acme.example.com", "unknown.example.com"])
def test_the_host_decides_where_the_certificate_was_asked_for_another_name(nginx, server_name):
    """All tenants share the certificate and the server block, so SNI chooses nothing."""
    answer = nginx.ask(f"GET {METADATA} HTTP/1.1\nHost: globex.example.com\n\n", host=server_name)

    assert json.loads(answer.body)["issuer"] == "https://globex.example.com"


@pytest.mark.parametrize(
    "name", ["ACME.example.com", "acme.example.com:443", "acme.example.com:80", "acme.example.com."]
)
def test_another_spelling_of_a_host_is_the_same_tenant_or_nobody(nginx, name):
    """MT-23."""
    answer = nginx.ask(f"GET {METADATA} HTTP/1.1\nHost: {name}\n\n")

    assert answer.status == 404 or json.loads(answer.body)["issuer"] == "https://acme.example.com"
    assert answer.status in {200, 404}


@pytest.mark.parametrize(
    "path",
    ["/oauth2/token/", "//oauth2/token", "/oauth2//token", "/oauth2/../oauth2/token", "/oauth2/token;x=1",
     "/admin%2f..%2foauth2/token", "/oauth2/nope"],
)  # fmt: skip
def test_another_spelling_of_an_address_is_no_address(nginx, path):
    """G-06, G-07: through nginx too, whose own locations go by a path that it has tidied up."""
    body = f"grant_type=client_credentials&client_id={nginx.client_id}&client_secret={nginx.client_secret}"
    answer = nginx.ask(f"POST {path} HTTP/1.1\n{HOST}\n{FORM}\nContent-Length: {len(body)}\n\n{body}")

    assert answer.status == 404
    assert answer.headers["Location"] is None


@pytest.mark.parametrize("head", ["HTTP/1.1\nHost: unknown.example.com", "HTTP/1.1\nHost: 127.0.0.1", "HTTP/1.0"])
def test_a_host_that_is_nobodys_is_not_found(nginx, head):
    """MT-21."""
    assert nginx.ask(f"GET {METADATA} {head}\n\n").status == 404


# --- limits and failures speak JSON to machines --------------------------------------------


def test_a_long_authorization_request_comes_through(nginx):
    """HT-07: 5,000 bytes are read; from 8,190 on the server refuses, not nginx."""
    statuses = [
        nginx.ask(f"GET /oauth2/authorize?state={'x' * size} HTTP/1.1\n{HOST}\n\n").status for size in (5000, 9000)
    ]

    assert statuses == [400, 414]


@pytest.mark.parametrize("header", [f"X: {'y' * 9000}", f"Authorization: Basic {'y' * 20_000}"])
def test_a_header_beyond_the_limits_is_refused(nginx, header):
    """HT-07."""
    assert nginx.ask(f"GET {METADATA} HTTP/1.1\n{HOST}\n{header}\n\n").status in {400, 431}


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
