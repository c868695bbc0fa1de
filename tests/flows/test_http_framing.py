"""Where one request ends and the next begins, and whose it is: bytes that two readers could take differently.

The ids are those of the catalogue of checks. What is refused is refused as a
whole: the connection ends, and nothing that follows on it is answered.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable
from importlib.metadata import version

import pytest

from tests.databases import close, make_app
from tests.server import PATIENCE, ROOT, Answer, GunicornServer, serving
from tests.world import Browser, Machine, World

pytestmark = pytest.mark.server

CLOSE = "Connection: close"
FORM = "Content-Type: application/x-www-form-urlencoded"
CHUNKED = "Transfer-Encoding: chunked"


def converse(server: GunicornServer, data: bytes, *, hang_up: bool = False) -> list[Answer]:
    """All answers on a connection on which ``data`` is sent; it must end, and nothing else may come.

    ``hang_up`` says at once that no more will come.
    """
    received = bytearray()
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        # A server that has heard enough does not listen on.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    return list(parse_answers(bytes(received)))


def parse_answers(data: bytes):
    while data:
        head, separator, rest = data.partition(b"\r\n\r\n")
        found = re.match(rb"HTTP/1\.[01] ([0-9]{3}) ", head)
        assert found, data
        assert separator, data
        headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
        length = int(headers["Content-Length"])
        yield Answer(int(found[1]), headers, rest[:length])
        data = rest[length:]


@pytest.fixture
def engine():
    """One is enough: nothing here comes as far as the database, or all of it does."""
    return "sqlite"


@pytest.fixture
def host(site):
    return f"{site.host}:{site.port}"


@pytest.fixture
def form(served_world, site):
    """A token request that is good: what a test spoils is then the only thing wrong."""
    client = served_world.client(site)
    return f"grant_type=client_credentials&client_id={client.client_id}&client_secret={client.secret}".encode()


def message(line: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([line, *headers]).encode("latin-1") + b"\r\n\r\n" + body


def token_request(host: str, *headers: str, body: bytes, line: str = "POST /oauth2/token HTTP/1.1") -> bytes:
    """Without a length: that is the caller's."""
    return message(line, f"Host: {host}", FORM, CLOSE, *headers, body=body)


def in_chunks(body: bytes, *, size: bytes = b"%x", end: bytes = b"\r\n", last: bytes = b"0\r\n\r\n") -> bytes:
    return (size % len(body) if b"%" in size else size) + b"\r\n" + body + end + last


def check_refused(answers: list[Answer], *statuses: int) -> None:
    """One answer, a refusal of ours or of gunicorn, without anything about how the server is made."""
    assert [answer.status for answer in answers] in [[status] for status in statuses or (400,)]
    assert not re.search(
        rb"Traceback|[Ww]erkzeug|gunicorn|site-packages|access_token|[0-9]+\.[0-9]+\.[0-9]+", answers[0].body
    )


def test_the_requests_that_the_others_spoil_are_good(server, host, form):
    plain = token_request(host, f"Content-Length: {len(form)}", body=form)
    chunked = token_request(host, CHUNKED, body=in_chunks(form))

    assert [answer.status for answer in converse(server, plain)] == [200]
    assert [answer.status for answer in converse(server, chunked)] == [200]


@pytest.mark.parametrize("first", ["length", "coding"])
def test_two_framings_at_once_are_refused(server, host, form, first):
    """HT-01: RFC 9112 section 6.1."""
    chunks = in_chunks(form)
    framings = [f"Content-Length: {len(chunks)}", CHUNKED]

    answers = converse(server, token_request(host, *sorted(framings, reverse=first != "length"), body=chunks))

    check_refused(answers)


@pytest.mark.parametrize(
    "coding",
    [
        "xchunked",
        "identity",
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, chunked",
        "\x0bchunked",
        "chunked\x0b",
        "chunked;q=1",
        '"chunked"',
        "",
        "chunked\r\nTransfer-Encoding: identity",
        "identity\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "ch\xfcnked",
    ],
)
def test_a_transfer_coding_that_is_not_exactly_chunked_is_refused(server, host, form, coding):
    """HT-02."""
    answers = converse(server, token_request(host, f"Transfer-Encoding: {coding}", body=in_chunks(form)))

    check_refused(answers, 400, 501)


@pytest.mark.parametrize("coding", ["Chunked", "CHUNKED", "chunked ", "\tchunked"])
def test_a_transfer_coding_in_other_letters_or_with_space_around_is_chunked(server, host, form, coding):
    """HT-02: neither belongs to the value (RFC 9110 section 5.5, RFC 9112 section 7)."""
    answers = converse(server, token_request(host, f"Transfer-Encoding: {coding}", body=in_chunks(form)))

    assert [answer.status for answer in answers] == [200]


def test_a_transfer_coding_in_an_old_version_is_refused(server, host, form):
    """HT-02: RFC 9112 section 6.1."""
    request = token_request(host, CHUNKED, body=in_chunks(form), line="POST /oauth2/token HTTP/1.0")

    check_refused(converse(server, request))


@pytest.mark.parametrize("name", ["Transfer_Encoding", "Content_Length"])
def test_a_framing_with_an_underscore_is_no_framing(server, host, form, name):
    """HT-02: gunicorn drops such a header, and so does nginx; in WSGI it would pass for the real one."""
    answers = converse(server, token_request(host, f"Content-Length: {len(form)}", f"{name}: chunked", body=form))

    assert [answer.status for answer in answers] == [200]


@pytest.mark.parametrize(
    "length",
    [
        "+{0}",
        "-1",
        "0x50",
        "1e2",
        "",
        "{0}, {0}",
        "{0} 5",
        "{0}_0",
        "{0}\r\nContent-Length: {0}",
        "{0}\r\nContent-Length: 3",
    ],
)
def test_a_length_that_is_not_one_number_is_refused(server, host, form, length):
    """HT-01, MI-06: RFC 9112 section 6.3."""
    request = token_request(host, f"Content-Length: {length.format(len(form))}", body=form)

    check_refused(converse(server, request))


def test_a_length_beyond_all_bounds_is_refused_before_anything_is_read(server, host, form):
    request = token_request(host, f"Content-Length: {'9' * 30}", body=form)

    check_refused(converse(server, request, hang_up=True), 413)


SPOILED_HEADS = {
    "LF for all lines": lambda head: head.replace(b"\r\n", b"\n"),
    "LF after Host": lambda head: head.replace(b"\r\nContent-Type", b"\nContent-Type"),
    "CR after Host": lambda head: head.replace(b"\r\nContent-Type", b"\rContent-Type"),
    "LF at the end": lambda head: head[:-4] + b"\n\n",
    "obs-fold": lambda head: head.replace(b"\r\nContent-Type", b"\r\n folded\r\nContent-Type"),
    "obs-fold in Host": lambda head: head.replace(b"Host: ", b"Host:\r\n "),
    "space before the first header": lambda head: head.replace(b"\r\nHost", b"\r\n Host"),
    **{
        name: lambda head, line=line: head[:-2] + line + b"\r\n\r\n"  # type: ignore[misc]
        for name, line in {
            "space before the colon": b"X : y",
            "tab before the colon": b"X\t: y",
            "no name": b": y",
            "no colon": b"X",
            "control byte in a name": b"X\x01: y",
            "control byte in a value": b"X: a\x01b",
            "NUL in a value": b"X: a\x00b",
            "CR in a value": b"X: a\rb",
            "a name that is no token": b"X(): y",
            "a name beyond ASCII": b"\xe4: y",
            "two types": b"Content-Type: application/json",
            "two hosts": b"Host: globex.localhost",
            "the same host twice": b"Host: %HOST%",
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILED_HEADS.values(), ids=SPOILED_HEADS.keys())
def test_a_head_that_is_not_made_as_the_standard_says_is_refused(server, host, form, spoil: Callable[[bytes], bytes]):
    """HT-05; MT-25 for the hosts."""
    head = token_request(host, f"Content-Length: {len(form)}", body=b"")

    check_refused(converse(server, spoil(head).replace(b"%HOST%", host.encode()) + form))


@pytest.mark.parametrize(
    "headers, status",
    [
        pytest.param([f"X: {'y' * 9000}"], 431, id="HT-07-a-header-of-9-kB"),
        pytest.param([f"X{number}: y" for number in range(101)], 431, id="HT-07-101-headers"),
        pytest.param([f"Authorization: Basic {'y' * 20_000}"], 431, id="MI-15-an-Authorization-of-20-kB"),
    ],
)
def test_a_head_beyond_the_limits_is_refused(server, host, form, headers, status):
    request = token_request(host, f"Content-Length: {len(form)}", *headers, body=form)

    check_refused(converse(server, request), status)


@pytest.mark.parametrize(
    "line",
    ["POST /oauth2/token", "POST /oauth2/token HTTP/2.0", "POST /oauth2/token http/1.1", "POST /oauth2/token HTTP/1.10",
     "POST /oauth2/token HTTP/1.1 ", "POST  /oauth2/token HTTP/1.1", "post /oauth2/token HTTP/1.1",
     "POST oauth2/token HTTP/1.1", "POST * HTTP/1.1", "POST \\oauth2\\token HTTP/1.1", "PROXY UNKNOWN"],
)  # fmt: skip
def test_a_request_line_that_is_none_is_refused(server, host, form, line):
    check_refused(converse(server, token_request(host, f"Content-Length: {len(form)}", body=form, line=line)))


SPOILED_CHUNKS = {
    "truncated": lambda form: b"%x\r\n" % (len(form) + 5) + form,
    "no last chunk": lambda form: in_chunks(form, last=b""),
    "no end of trailers": lambda form: in_chunks(form, last=b"0\r\n"),
    "no end of a chunk": lambda form: in_chunks(form, end=b"XX"),
    "LF after a chunk": lambda form: in_chunks(form, end=b"\n"),
    "LF after the size": lambda form: in_chunks(form).replace(b"\r\n", b"\n", 1),
    **{
        f"size {size.decode()!r}": lambda form, size=size: in_chunks(form, size=size)  # type: ignore[misc]
        for size in (b"zz", b"-5", b"0x%x", b"+%x", b" %x", b"%x ", b"%x_0", b"", b"%x;a\nb", b"%x;\x00")
    },
    "a huge size": lambda form: in_chunks(form, size=b"f" * 40),
    "an extension of 1 MB": lambda form: in_chunks(form, size=b"%x;a=" + b"x" * 1_000_000),
    "trailers of 1 MB": lambda form: in_chunks(form, last=b"0\r\n" + b"X: y\r\n" * 150_000 + b"\r\n"),
    "a trailer that is none": lambda form: in_chunks(form, last=b"0\r\nx\r\n\r\n"),
    "a trailer that frames": lambda form: in_chunks(form, last=b"0\r\nContent-Length: 5\r\n\r\n"),
    "a trailer that names a host": lambda form: in_chunks(form, last=b"0\r\nHost: globex.localhost\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILED_CHUNKS.values(), ids=SPOILED_CHUNKS.keys())
def test_chunks_that_are_not_made_as_the_standard_says_are_refused(server, host, form, spoil):
    """HT-08."""
    answers = converse(server, token_request(host, CHUNKED, body=spoil(form)), hang_up=True)

    check_refused(answers, 400)


def test_an_extension_and_a_trailer_of_a_chunk_mean_nothing(server, served_world, site, host):
    """HT-08: they may be there, and what they say is merged into nothing."""
    token = Machine(server, site).token(served_world.client(site))
    trailer = (
        b"0\r\nX-Checksum: 1\r\nX-Forwarded-Host: globex.localhost\r\nAuthorization: Bearer %s\r\n\r\n" % token.encode()
    )
    body = in_chunks(b"a=b", size=b"%x;name=value", last=trailer)

    answers = converse(server, message("GET /oauth2/verify HTTP/1.1", f"Host: {host}", CHUNKED, CLOSE, body=body))

    # The token in the trailer was not read: either the trailer is refused, or nobody is signed in.
    assert [answer.status for answer in answers] in ([400], [401])


@pytest.mark.parametrize("more", [1, 9, 5000])
def test_a_body_that_ends_before_its_length_is_refused(server, host, form, more):
    """MI-06: half a form must not pass for a whole one."""
    request = token_request(host, f"Content-Length: {len(form) + more}", body=form)

    check_refused(converse(server, request, hang_up=True))


def test_a_form_of_a_page_that_ends_before_its_length_is_refused(server, site, host):
    """MI-06: as at the machine endpoints."""
    body = b"email=bo%40acme.example"
    head = message("POST /login HTTP/1.1", f"Host: {host}", FORM, CLOSE, f"Content-Length: {len(body) + 5}")

    check_refused(converse(server, head + body, hang_up=True))


def test_what_stands_behind_a_body_is_a_request_of_nobody(server, served_world, site, host):
    """HT-09, MI-06: the second request has the rights that it brings itself, not those of the first."""
    token = Machine(server, site).token(served_world.client(site))
    visitor = Browser(server, site)
    visitor.sign_in(served_world.user(site))
    [cookie] = visitor.client._cookies.values()
    hidden = message("GET /account/apps HTTP/1.1", f"Host: {host}", CLOSE)
    unsigned = message("GET /oauth2/verify HTTP/1.1", f"Host: {host}", CLOSE)
    signed = f"Cookie: {cookie.key}={cookie.value}"

    behind_a_page = converse(server, message("GET /account/apps HTTP/1.1", f"Host: {host}", signed) + hidden)
    behind_a_call = converse(
        server, message("GET /oauth2/verify HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}") + unsigned
    )
    length = f"Content-Length: {len(unsigned)}"
    within_a_body = converse(
        server, message("GET /oauth2/verify HTTP/1.1", f"Host: {host}", length, body=unsigned) + unsigned
    )

    assert [answer.status for answer in behind_a_page] == [200, 303]
    assert [answer.status for answer in behind_a_call] == [200, 401]
    assert [answer.status for answer in within_a_body] == [401, 401]


def test_nothing_is_answered_behind_a_request_that_was_refused(server, host, form):
    """HT-09: where the next request begins is then unknown."""
    hidden = message("GET /healthz HTTP/1.1", f"Host: {host}", CLOSE)
    head = message("POST /oauth2/token HTTP/1.1", f"Host: {host}", FORM, CHUNKED)

    for broken in (in_chunks(form, size=b"zz"), in_chunks(form, end=b"XX"), in_chunks(form, size=b"%x ")):
        check_refused(converse(server, head + broken + hidden))


@pytest.mark.parametrize("size", [300_000, 1_000_000])
def test_what_is_refused_for_its_size_is_not_read_as_the_next_request(server, host, size):
    """HT-09: whatever of it stands at the place where a request could begin."""
    hidden = message("GET /healthz HTTP/1.1", f"Host: {host}")
    body = (hidden * (size // len(hidden) + 1))[:size]
    head = message("POST /oauth2/token HTTP/1.1", f"Host: {host}", FORM, f"Content-Length: {size}", CLOSE)

    check_refused(converse(server, head + body, hang_up=True), 413)


PATIENT_FOR_ONE_SECOND = """
from pathlib import Path

from app import worker as _worker

_worker.READ_SECONDS = 1
exec(compile(Path("gunicorn.conf.py").read_text(), "gunicorn.conf.py", "exec"))
"""


@pytest.fixture
def hasty(sqlite_databases, tmp_path):
    """One worker with four threads, which gives a request one second to arrive; with a host of one of its tenants."""
    configuration = tmp_path / "hasty.conf.py"
    configuration.write_text(PATIENT_FOR_ONE_SECOND)
    environment = {"GUNICORN_CMD_ARGS": f"--config {configuration}"}
    with serving(sqlite_databases.url(), tmp_path / "log", workers=1, environment=environment) as server:
        app = make_app(server.database_url, PORT=server.port)
        site = World(app).site(server.port)
        close(app)
        yield server, f"{site.host}:{site.port}"


def unfinished_requests(host: str) -> list[bytes]:
    """One for each thread."""
    head = message("POST /oauth2/token HTTP/1.1", f"Host: {host}", FORM)
    return [
        b"POST /oauth2/tok",
        head[:-2],
        head[:-2] + b"Content-Length: 9\r\n\r\na=b",
        head[:-2] + b"Transfer-Encoding: chunked\r\n\r\n9\r\na=b",
    ]


def test_clients_that_never_finish_their_requests_silence_nobody_for_long(hasty):
    """MI-06: each of them occupies a thread, and there are as many of them as threads."""
    server, host = hasty
    with contextlib.ExitStack() as stack:
        for data in unfinished_requests(host):
            stack.enter_context(server.connect()).send(data)

        assert server.status("/readyz") == 200

    assert "Traceback" not in server.text()


def test_a_client_that_stops_in_the_middle_of_its_form_is_told_so(hasty):
    """MI-06."""
    server, host = hasty

    first_line, head, length, chunks = (converse(server, data) for data in unfinished_requests(host))

    # Of what is not even a head nobody knows how to answer it.
    assert first_line == head == []
    check_refused(length)
    check_refused(chunks)


def test_a_client_that_is_slow_but_in_time_is_answered(hasty):
    server, host = hasty
    with server.connect() as connection:
        for byte in message("GET /login HTTP/1.1", f"Host: {host}"):
            connection.send(bytes([byte]))
        assert connection.receive().status == 200


def test_the_parsers_in_use_know_these_attacks():
    """HT-13: older ones let them pass."""
    least = {"gunicorn": (26, 1), "werkzeug": (3, 1, 9), "flask": (3, 1, 3), "authlib": (1, 9)}
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([0-9.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))

    for name, oldest in least.items():
        assert tuple(map(int, pinned[name].split("."))) >= oldest
        assert version(name) == pinned[name]
